import { attentionCost } from "./attention-cost.ts";
import { barChart, barOf, cosineHistogram, lineChart } from "./charts.ts";
import type { Evaluation, FavorFile, FavorSite } from "./favor-file.ts";
import { counted, short } from "./numbers.ts";
import { Html, html, page, table } from "./page.ts";
import { describeEvaluation, describeFeatures, evaluationMethod, summary } from "./summary.ts";

/**
 * `report.html`: the conversion as a page of its own, with charts as SVG and nothing loaded from elsewhere.
 *
 * @param file - what happened.
 * @param first - what stands before the conversion's own sections; default: nothing.
 */
export function reportPage(file: FavorFile, first: readonly Html[] = []): string {
  return page(
    `${file.source.name} with linear attention`,
    html`<h1>${file.source.name} with linear attention</h1>
      <p class="lead">${summary(file)}</p>
      ${first} ${file.evaluation === undefined ? unmeasured(file) : quality(file.evaluation)} ${cost(file)}
      <h2>Attention sites</h2>
      ${sites(file)}
      ${file.sites.some(({ error }) => error !== undefined) ? html`<p class="muted">${errorMethod}</p>` : ""}
      ${file.notes.map((note) => html`<p>${note}</p>`)}
      <h2>How it was made</h2>
      ${table(["", ""], provenance(file))}`,
  );
}

function unmeasured({ tuning }: FavorFile): Html {
  if (tuning !== undefined) return html``;
  return html`<p>Its quality was not measured. Pass <code>--evaluate</code> with a data file to do so.</p>`;
}

function quality(evaluation: Evaluation): Html {
  if (evaluation.kind === "output-cosine") {
    return html`<h2>Quality</h2>
      <p>${describeEvaluation(evaluation)}</p>
      ${new Html(cosineHistogram(evaluation.perSequence, { title: "Mean cosine by sequence", axis: "cosine", id: "cosine" }))}`;
  }
  const { original, converted } = evaluation;
  return html`<h2>Quality</h2>
    <p>${describeEvaluation(evaluation)}</p>
    <p class="muted">${evaluationMethod}</p>
    ${new Html(
      barChart([barOf("original", original.accuracy, 100), barOf("converted", converted.accuracy, 100)], {
        title: "Masked accuracy, higher is better",
        axis: "%",
        id: "accuracy",
      }),
    )}
    ${new Html(
      barChart([barOf("original", original.perplexity), barOf("converted", converted.perplexity)], {
        title: "Perplexity of the masked tokens, lower is better",
        axis: "",
        id: "perplexity",
      }),
    )}`;
}

function cost(file: FavorFile): Html {
  const costs = attentionCost(
    file.sites.map((site) => ({
      heads: site.heads,
      headDim: site.headDim,
      features: site.featureMap?.width ?? 0,
    })),
  );
  return html`<h2>Cost of the attention</h2>
    <p class="muted">
      Computed, not measured: multiply-adds of the attention alone, one sequence, projections and feed-forward aside.
    </p>
    ${new Html(
      lineChart(
        [
          { name: "softmax everywhere", points: costs.map(([length, softmax]) => [length, softmax / 1e9] as const) },
          { name: "as converted", points: costs.map(([length, , converted]) => [length, converted / 1e9] as const) },
        ],
        { title: "Multiply-adds by sequence length", axis: "billions", across: "tokens", id: "cost" },
      ),
    )}`;
}

function keptWhy({ layer, kind }: FavorSite, { options }: FavorFile): string {
  if (options.keep.includes(layer)) return "kept on request";
  return kind === "cross" && options.cross !== true
    ? "cross-attention, converted with --cross only"
    : "kept for the budget";
}

/** What the error column means. */
const errorMethod =
  "Error: how far each head's attention is from softmax, as a share of softmax's own size (Frobenius norm of the " +
  "difference of the attention matrices), on activations of the original model.";

function sites(file: FavorFile): Html {
  return table(
    ["layer", "site", "heads", "head dim", "scale", "mask", "now", "error, mean (worst head)", "why"],
    file.sites.map((site) => [
      site.layer,
      html`<code>${site.name}</code>`,
      site.heads === site.keyValueHeads ? String(site.heads) : `${site.heads} (${site.keyValueHeads} of keys)`,
      site.headDim,
      short(site.scale),
      site.mask.kind,
      site.state === "converted" ? file.options.features : "softmax",
      site.error === undefined ? "" : `${short(site.error.mean)} (${short(site.error.worst)})`,
      site.state === "kept" ? keptWhy(site, file) : site.reasons.map((reason) => reason.message).join(" "),
    ]),
  );
}

function provenance(file: FavorFile): (string | Html)[][] {
  const { options, calibration, evaluation } = file;
  const rows: (string | Html)[][] = [
    [
      "source model",
      html`<code>${file.source.model}</code>, ${file.source.bytes} bytes, sha256 <code>${file.source.sha256}</code>`,
    ],
    [
      "this model",
      html`<code>${file.model.file}</code>, ${file.model.bytes} bytes, sha256 <code>${file.model.sha256}</code>`,
    ],
    ["features", describeFeatures(file)],
    ["seed", String(options.seed)],
  ];
  if (options.budget !== undefined) rows.push(["budget", `${options.budget} points`]);
  if (options.maxLength !== undefined)
    rows.push(["longest input", `${options.maxLength} tokens (position table grown)`]);
  for (const [name, use] of [
    ["calibration data", calibration],
    ["evaluation data", evaluation?.data],
  ] as const) {
    if (use === undefined) continue;
    const odd = [
      use.unknown > 0 ? `${counted(use.unknown, "token")} unknown to the tokenizer` : "",
      use.truncated > 0 ? `${counted(use.truncated, "sequence")} cut` : "",
    ].filter((part) => part !== "");
    const notes = odd.length > 0 ? `; ${odd.join(", ")}` : "";
    rows.push([
      name,
      html`<code>${use.file}</code>, ${counted(use.sequences, "sequence")}, ${counted(use.tokens, "token")}${notes},
        sha256 <code>${use.sha256}</code>`,
    ]);
  }
  rows.push([
    "versions",
    Object.entries(file.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
  ]);
  return rows;
}
