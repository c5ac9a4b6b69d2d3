import type { MaskedQuality } from "@favor/measure";
import { barChart, barOf } from "./charts.ts";
import type { Bar } from "./charts.ts";
import { percentWithInterval, short, withInterval } from "@favor/measure/numbers";
import { Html, html, page, table } from "./page.ts";
import { evaluationMethod } from "../describe-evaluation.ts";

/** One model of a comparison. */
export interface ComparedModel {
  readonly name: string;
  readonly quality: MaskedQuality;
  /** Time and memory of one forward pass by length, with the same lengths for every model. */
  readonly speed: readonly { readonly length: number; readonly seconds: number; readonly peakBytes: number }[];
}

/**
 * Makes a page that compares several models side by side by masked accuracy, perplexity and speed. Charts are SVG, and
 * the page loads nothing.
 *
 * @param title - title of the page.
 * @param models - the first is the reference for the speed.
 * @param text - paragraphs about the data and the machine.
 * @param sections - further sections for the end of the page; default: none.
 */
export function comparisonPage(
  title: string,
  models: readonly ComparedModel[],
  text: readonly string[],
  sections: readonly Html[] = [],
): string {
  const lengths = models[0]?.speed.map(({ length }) => length) ?? [];
  const times = (index: number): Bar[] =>
    models.map(({ name, speed }) => ({ name, value: speed[index]!.seconds * 1000 }));
  const accuracy = models.map(({ name, quality }) => barOf(name, quality.accuracy, 100));
  const perplexity = models.map(({ name, quality }) => barOf(name, quality.perplexity));
  return page(
    title,
    html`<h1>${title}</h1>
      ${text.map((paragraph) => html`<p>${paragraph}</p> `)}
      <h2>Quality</h2>
      <p class="muted">${evaluationMethod}</p>
      ${new Html(barChart(accuracy, { title: "Masked accuracy, higher is better", axis: "masked accuracy, %", id: "accuracy" }))}
      ${new Html(barChart(perplexity, { title: "Perplexity, lower is better", axis: "perplexity", id: "perplexity" }))}
      <h2>Speed</h2>
      ${lengths.map((length, i) => new Html(barChart(times(i), { title: `Forward pass of ${length} tokens`, axis: "time, ms", id: `speed-${length}` })))}
      <h2>All numbers</h2>
      ${table(
        [
          "attention",
          "masked accuracy (95 %)",
          "perplexity (95 %)",
          ...lengths.flatMap((length) => [`ms at ${length}`, `MB at ${length}`]),
        ],
        models.map(({ name, quality, speed }) => [
          name,
          percentWithInterval(quality.accuracy),
          withInterval(quality.perplexity),
          ...speed.flatMap(({ seconds, peakBytes }) => [short(seconds * 1000), Math.round(peakBytes / 1e6)]),
        ]),
        "With 95 % intervals; time and peak memory of one forward pass by length in tokens.",
      )}
      ${sections}`,
  );
}
