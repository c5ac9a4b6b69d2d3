import { short } from "@favor/measure/numbers";

import { describeCrossing } from "../crossing.ts";
import type { MeasuredSpeed } from "../record/measured-speed.ts";
import { lineChart, methodColor } from "./charts.ts";
import { Html, html, table } from "./page.ts";

/**
 * The measured speed of both models, with the machine and the date. Marked as what differs from run to run: `favor.json`
 * records the page without it.
 */
export function speedSection({ machine, date, threads, lengths }: MeasuredSpeed): Html {
  const milliseconds = (name: "original" | "converted") =>
    lengths.map(({ length, [name]: { seconds } }) => [length, seconds * 1000] as const);
  const section = html`<h2>Speed, measured</h2>
    <p class="muted">
      ${`One sequence of random tokens, ${threads === 1 ? "1 thread" : `${threads} threads`}, median of several runs; each length in a process of its own. Measured on ${date}: ${machine}.`}
    </p>
    ${new Html(
      lineChart(
        [
          { name: "original", points: milliseconds("original"), color: methodColor.original },
          { name: "converted", points: milliseconds("converted"), color: methodColor.converted },
        ],
        { title: "Time of a forward pass", axis: "time, ms", across: "sequence length, tokens", id: "speed" },
      ),
    )}
    ${table(
      ["tokens", "original, ms", "converted, ms", "times as fast", "original, MB", "converted, MB"],
      lengths.map(({ length, original, converted }) => [
        length,
        short(original.seconds * 1000),
        short(converted.seconds * 1000),
        short(Number((original.seconds / converted.seconds).toPrecision(3))),
        Math.round(original.peakBytes / 1e6),
        Math.round(converted.peakBytes / 1e6),
      ]),
      "Time and peak memory of the process, model and runtime included.",
    )}
    <p>${describeCrossing({ lengths })}</p>`;
  return new Html(`<!-- measured -->${section.text}<!-- /measured -->`);
}
