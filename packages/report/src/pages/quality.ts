import type { Evaluation } from "@favor/measure";

import { describeEvaluation, evaluationMethod, lengthTable, meaningOf } from "../describe-evaluation.ts";
import type { FavorFile } from "../record/favor-file.ts";
import { barChart, barOf, cosineHistogram, methodColor } from "./charts.ts";
import { Html, html, table } from "./page.ts";

/** The section of the report on the measured quality; nothing if it was not measured. */
export function qualitySection({ evaluation, tuning }: FavorFile): Html {
  if (evaluation === undefined) return html``;
  const now =
    tuning === undefined
      ? { name: "converted", color: methodColor.converted }
      : { name: "tuned", color: methodColor.tuned };
  return html`<h2>Quality</h2>
    <p>${describeEvaluation(evaluation)}</p>
    <p class="muted">${meaningOf(evaluation)}</p>
    ${evaluation.kind === "masked-language" ? html`<p class="muted">${evaluationMethod}</p>` : ""}
    ${charts(evaluation, now)} ${lengths(evaluation)}`;
}

function charts(evaluation: Evaluation, now: { readonly name: string; readonly color: number }): Html {
  switch (evaluation.kind) {
    case "embedding":
    case "output-cosine": {
      const title = `${evaluation.kind === "embedding" ? "Cosine" : "Mean cosine"} by sequence, 1 is the original`;
      return new Html(cosineHistogram(evaluation.perSequence, { title, axis: "mean cosine", id: "cosine" }));
    }
    case "masked-language":
    case "next-token": {
      const { original, converted } = evaluation;
      const [tokens, accuracy] = evaluation.kind === "masked-language" ? ["masked", "masked"] : ["next", "next-token"];
      return html`${new Html(
        barChart(
          [
            barOf("original", original.accuracy, 100),
            { ...barOf(now.name, converted.accuracy, 100), color: now.color },
          ],
          {
            title: `${accuracy[0]!.toUpperCase()}${accuracy.slice(1)} accuracy, higher is better`,
            axis: `${accuracy} accuracy, %`,
            id: "accuracy",
          },
        ),
      )}
      ${new Html(
        barChart(
          [barOf("original", original.perplexity), { ...barOf(now.name, converted.perplexity), color: now.color }],
          {
            title: `Perplexity of the ${tokens} tokens, lower is better`,
            axis: "perplexity",
            id: "perplexity",
          },
        ),
      )}`;
    }
    case "classification":
    case "output-numbers":
      return html``;
  }
}

function lengths(evaluation: Evaluation): Html {
  const found = lengthTable(evaluation);
  if (found === undefined) return html``;
  return table(found.headings, found.rows, "Quality by length in tokens, with 95 % intervals.");
}
