import { reasonLines } from "@favor/rewriter";

import { attentionCost, breakEvenLength, siteCosts } from "../attention-cost.ts";
import { lineChart, methodColor } from "./charts.ts";
import { errorDetails } from "./error-map.ts";
import { speedSection } from "./speed.ts";
import { maskName } from "../record/mask-name.ts";
import type { FavorFile, FavorSite } from "../record/favor-file.ts";
import type { MeasuredSpeed } from "../record/measured-speed.ts";
import { counted, grouped, short } from "@favor/measure/numbers";
import { Html, facts, html, page, table } from "./page.ts";
import type { Cell } from "./page.ts";
import { qualitySection } from "./quality.ts";
import { describeExactKeys, describeFeatures, summary, verdict } from "../summary.ts";

/**
 * Makes `report.html`, a page about the conversion with charts as SVG. It loads nothing.
 *
 * @param file - the record of the conversion.
 * @param first - sections to put before those of the conversion; default: none.
 * @param speed - how long both models take; default: not measured.
 */
export function reportPage(file: FavorFile, first: readonly Html[] = [], speed?: MeasuredSpeed): string {
  return page(
    `${file.source.name} with linear attention`,
    html`<h1>${file.source.name} with linear attention</h1>
      <p class="verdict">${verdict(file)}</p>
      <p class="lead">${summary(file)}</p>
      ${warnings(file)} ${first} ${file.evaluation === undefined ? unmeasured(file) : qualitySection(file)}
      ${speed === undefined ? "" : speedSection(speed)} ${cost(file)}
      <h2>Attention sites</h2>
      ${sites(file)} ${errorDetails(file.sites)} ${whySoftmax(file)} ${file.notes.map((note) => html`<p>${note}</p>`)}
      <h2>How it was made</h2>
      ${facts(provenance(file))}`,
  );
}

function warnings({ warnings: found = [] }: FavorFile): Html {
  if (found.length === 0) return html``;
  return html`<section class="warning" aria-label="Warnings">
    ${found.map(({ message }) => html`<p><strong>Warning.</strong> ${message}</p>`)}
  </section>`;
}

function unmeasured({ tuning }: FavorFile): Html {
  if (tuning !== undefined) return html``;
  return html`<p>The quality was not measured. To measure it, pass a data file with <code>--evaluate</code>.</p>`;
}

function cost(file: FavorFile): Html {
  const costs = attentionCost(siteCosts(file));
  const color = file.tuning === undefined ? methodColor.converted : methodColor.tuned;
  const breakEven = breakEvenLength(siteCosts(file));
  return html`<h2>Cost of the attention</h2>
    <p class="muted">
      Computed, not measured: multiply-adds of attention for one sequence, without projections and feed-forward layers.
      ${breakEven === undefined ? "" : `From ${grouped(breakEven)} tokens on, the converted attention takes fewer than softmax.`}
    </p>
    ${new Html(
      lineChart(
        [
          { name: "softmax everywhere", points: costs.map(([length, softmax]) => [length, softmax / 1e9] as const) },
          {
            name: "as converted",
            points: costs.map(([length, , converted]) => [length, converted / 1e9] as const),
            color,
          },
        ],
        {
          title: "Multiply-adds by sequence length",
          axis: "multiply-adds, billions",
          across: "sequence length, tokens",
          id: "cost",
        },
      ),
    )}`;
}

function keptWhy({ layer, kind }: FavorSite, { options }: FavorFile): string {
  if (options.keep.includes(layer)) return "kept on request";
  return kind === "cross" && options.cross !== true
    ? "cross-attention, which is converted only with --cross"
    : "kept for the budget";
}

/** What computes an attention in the converted model. */
function nowOf({ state, exactKeys, featureMap }: FavorSite, { options }: FavorFile): string {
  if (state === "band") return "softmax within its window";
  if (state === "exact by block") return "softmax by blocks";
  if (state !== "linear") return "softmax";
  if (exactKeys === undefined) return options.features;
  const exact = describeExactKeys(exactKeys);
  return featureMap === undefined ? exact : `${exact}; ${options.features} (${featureMap.width})`;
}

/** Lists why attention stayed softmax: each reason once, with its layers. */
function whySoftmax(file: FavorFile): Html {
  const reasons = reasonLines(
    file.sites.map((site) =>
      site.because === "kept" ? { ...site, reasons: [{ code: "softmax", message: `${keptWhy(site, file)}.` }] } : site,
    ),
  );
  if (reasons.length === 0) return html``;
  return html`<h3>What stayed softmax, and why</h3>
    <ul>
      ${reasons.map((reason) => html`<li>${reason}</li>`)}
    </ul>`;
}

/** A column of the table of sites; columns without any values are left out. */
type Column = readonly [name: string, cell: (site: FavorSite) => Cell];

function sites(file: FavorFile): Html {
  const isGrouped = file.sites.some(({ heads, keyValueHeads }) => heads !== keyValueHeads);
  const columns: Column[] = [
    ["layer", ({ layer }) => layer],
    ["heads", ({ heads }) => heads],
    ["key heads", ({ keyValueHeads }) => (isGrouped ? keyValueHeads : "")],
    ["head dim", ({ headDim }) => headDim],
    ["scale", ({ scale }) => short(scale)],
    ["mask", ({ mask }) => maskName(mask)],
    ["now", (site) => nowOf(site, file)],
    ["site", ({ name }) => html`<code>${name}</code>`],
  ];
  const shown = columns.filter(([, cell]) => file.sites.some((site) => cell(site) !== ""));
  return table(
    shown.map(([name]) => name),
    file.sites.map((site) => shown.map(([, cell]) => cell(site))),
    "Every attention in the order of data flow. Layers are counted from 0.",
  );
}

function provenance(file: FavorFile): [string, string | Html][] {
  const { options, calibration, evaluation, source, model } = file;
  const rows: [string, string | Html][] = [
    [
      "source model",
      html`<code>${source.model}</code>, ${grouped(source.bytes)} bytes, sha256 <code>${source.sha256}</code>`,
    ],
    [
      "this model",
      html`<code>${model.file}</code>, ${grouped(model.bytes)} bytes, sha256 <code>${model.sha256}</code>`,
    ],
    ["features", describeFeatures(file)],
    ["seed", String(options.seed)],
  ];
  if (source.revision !== undefined) rows.splice(1, 0, ["revision on the Hub", html`<code>${source.revision}</code>`]);
  if (source.task !== undefined) rows.push(["head", `${source.task}, chosen with --task`]);
  if (options.budget !== undefined) rows.push(["budget", `${options.budget} points`]);
  if (options.maxLength !== undefined)
    rows.push(["longest input", `${grouped(options.maxLength)} tokens (position table grown)`]);
  for (const [name, use] of [
    ["calibration data", calibration],
    ["evaluation data", evaluation?.data],
  ] as const) {
    if (use === undefined) continue;
    const odd = [
      use.unknown > 0 ? `${counted(use.unknown, "token")} unknown to the tokenizer` : "",
      use.truncated > 0 ? `${counted(use.truncated, "sequence")} cut` : "",
      (use.windows ?? 0) > 0 ? `${counted(use.windows!, "window")} of longer ones` : "",
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
