import { describeLayers, reasonLines, shownForms } from "@favor/rewriter";
import type { ConvertedSite, SiteMemory } from "@favor/rewriter";

import { bytesText } from "@favor/checkpoints/node";
import { duration, textTable, wrapped } from "@favor/command-line";
import type { Evaluation } from "@favor/measure";
import { counted, grouped, short } from "@favor/measure/numbers";
import { describeBreakEven, doubtAboutGain } from "./commands/break-even.ts";
import type { BreakEven } from "./commands/break-even.ts";
import { defaultCount } from "./commands/request.ts";
import type { ConvertResult, DryRunResult } from "./commands/convert.ts";
import type { Inspection } from "./commands/inspect.ts";
import type { Verification } from "./commands/verify.ts";
import type { Plan } from "./commands/plan.ts";
import type { FavorFile, MeasuredSpeed } from "@favor/report";
import {
  describeCrossing,
  describeEvaluation,
  describeExactKeys,
  lengthTable,
  meaningOf,
  siteRecord,
  summary,
  verdict,
} from "@favor/report";
import { siteTable } from "./site-lines.ts";

/** The output of `inspect`. */
export function inspectionText(inspection: Inspection): string {
  const { model, sites, notes, breakEven, operators } = inspection;
  if (sites.length === 0) return [...notes, withoutAttention(model, operators)].join("\n");
  const convertible = sites.filter((site) => site.verdict === "convert").length;
  const rest = convertible === 0 || convertible === sites.length ? "" : " The others stay softmax.";
  return [
    siteTable(sites, "possible", ({ possible }) => (possible.length === 0 ? "nothing" : possible.join(", "))),
    ...reasonLines(sites),
    ...notByBlock(sites),
    ...notes,
    ...memoryTables(inspection),
    ...(breakEven === undefined ? [] : breakEvenLines(breakEven)),
    `${model}: ${convertible} of ${sites.length} attention sites can be replaced.${rest}`,
  ].join("\n");
}

/** Where attention of the default number of features breaks even, and whether the model's inputs are long enough. */
function breakEvenLines(breakEven: BreakEven): string[] {
  const doubt = doubtAboutGain(breakEven);
  const what = `linear attention with ${defaultCount} features per head`;
  return [describeBreakEven(breakEven, what), ...(doubt === undefined ? [] : [`Warning: ${doubt.message}`])];
}

/** Why attention cannot be computed by blocks of queries. */
function notByBlock(sites: Inspection["sites"]): string[] {
  const layers = sites.filter((site) => site.notByBlock !== undefined);
  const [first] = layers;
  if (first === undefined) return [];
  return [
    `${layers.length} of ${sites.length} sites are not exact by block either (the first, in layer ${first.layer}: ${first.notByBlock}).`,
  ];
}

/** The forms of an attention whose memory is shown, with what each is called. */
const { exactKeys: beside } = shownForms;
const forms = [
  ["original", "as it is"],
  ["exact", "exact by block"],
  ["band", "band"],
  ["linear", `linear, ${shownForms.features} features`],
  ["exactKeys", `linear with exact keys, ${beside.features} features (${describeExactKeys(beside)})`],
] as const satisfies readonly (readonly [keyof SiteMemory, string])[];

/** The memory of one forward pass and of each attention in it, as the model is and with what is possible. */
function memoryTables({ memory, sites }: Inspection): string[] {
  if (memory.length === 0) return [];
  const whole = { name: "all", memory };
  const keys = [...new Set(sites.map((site) => JSON.stringify(site.memory)))];
  const groups = keys.map((key) => {
    const alike = sites.filter((site) => JSON.stringify(site.memory) === key);
    return { name: describeLayers(alike.map(({ layer }) => layer)), memory: alike[0]!.memory };
  });
  return [
    "Memory of one forward pass (all), and of the attention of each layer between its operands and its output. A batch of one, " +
      "without weights. Computed: runtimes take up to twice as much.",
    textTable(
      ["", "form", ...memory.map(({ length }) => `${grouped(length)} tokens`)],
      [whole, ...groups].flatMap(({ name, memory: at }) => formRows(name, at)),
    ),
  ];
}

/** A row for each form; the first has the name. */
function formRows(name: string, memory: readonly SiteMemory[]): string[][] {
  const known = forms.filter(([form]) => memory[0]?.[form] !== undefined);
  return known.map(([form, title], i) => [i === 0 ? name : "", title, ...memory.map((at) => bytesText(at[form]!))]);
}

/** Operators that only move or describe values, and say little about a model. */
const bookkeeping = new Set(
  "Cast Concat Constant ConstantOfShape Expand Gather Identity Reshape Shape Slice Split Squeeze Transpose Unsqueeze".split(
    " ",
  ),
);

/** Describes a graph without attention by its most common computing operators and its Softmax nodes. */
function withoutAttention(model: string, operators: Inspection["operators"]): string {
  const { Softmax: softmax = 0, ...others } = operators;
  const computing = Object.entries(others).filter(([type]) => !bookkeeping.has(type));
  const commonest = computing.toSorted(([, a], [, b]) => b - a);
  const list = commonest.slice(0, 5).map(([type, count]) => `${count} ${type}`);
  if (list.length === 0) list.push("no computing operators");
  return (
    `${model}: No softmax attention was found. The graph has ${list.join(", ")}${commonest.length > 5 ? ", ..." : ""} and ` +
    (softmax === 0 ? "no Softmax." : `${softmax} Softmax, none between two products over the positions of a sequence.`)
  );
}

/** What a site has become, in a few words. */
function stateOf({ state, exactKeys }: ConvertedSite): string {
  return exactKeys === undefined ? state : `${state} with exact keys (${describeExactKeys(exactKeys)})`;
}

/** The output of `convert`. */
export function conversionText(result: ConvertResult | DryRunResult): string {
  const { folder, sites, notes, favor } = result;
  const lines = [siteTable(sites, "state", stateOf), ...reasonLines(sites), ...notes];
  if (favor === undefined) return [...lines, ...planLines(result.plan), "Dry run: nothing was written."].join("\n");
  lines.push(summary(favor), verdict(favor));
  if (result.breakEven !== undefined) lines.push(describeBreakEven(result.breakEven));
  if (favor.evaluation !== undefined) lines.push(...evaluationLines(favor.evaluation));
  if (result.speed !== undefined) lines.push(speedTable(result.speed));
  lines.push(...advice(favor), `Wrote ${folder} (see report.html there).`);
  return lines.join("\n");
}

/**
 * The output of `convert --json`: the quality and the speed first, or null if they were not measured; the sites once, in
 * `favor`, or on their own after a dry run.
 */
export function conversionJson(result: ConvertResult | DryRunResult): object {
  const { folder, sites, notes, warnings, favor } = result;
  if (favor === undefined) {
    const records = sites.map((site) => siteRecord(site, undefined));
    return { folder: null, quality: null, speed: null, plan: result.plan, notes, warnings, sites: records };
  }
  const { evaluation: quality = null } = favor;
  const { breakEven = null } = result;
  return { folder, verdict: verdict(favor), quality, speed: result.speed ?? null, breakEven, notes, warnings, favor };
}

/** What was measured, what it means, and the quality by length. */
function evaluationLines(evaluation: Evaluation): string[] {
  const lengths = lengthTable(evaluation);
  const isOne = lengths === undefined || lengths.rows.length === 1;
  return [
    describeEvaluation(evaluation),
    meaningOf(evaluation),
    ...(isOne ? [] : [textTable(lengths.headings, lengths.rows)]),
  ];
}

function planLines({ features, weights, cost, breakEven, seconds }: Plan): string[] {
  const shown = cost.filter(({ length }) => [128, 512, 2048, 8192].includes(length));
  const rows = shown.map(({ length, softmax, converted }) => [
    grouped(length),
    short(softmax / 1e9),
    short(converted / 1e9),
    short(Number((softmax / converted).toPrecision(2))),
  ]);
  return [
    `Features: ${features}.`,
    `Weights: ${bytesText(weights.before)} before, ${bytesText(weights.after)} after.`,
    "Attention of one sequence, in billions of multiply-adds (computed):",
    textTable(["tokens", "softmax", "linear", "times less"], rows),
    ...(breakEven === undefined ? [] : [describeBreakEven(breakEven)]),
    seconds === undefined
      ? "How long it will take is unknown: this model was not run."
      : `It will take about ${duration(Math.max(1, seconds))} on this machine, if the sequences have about 128 tokens.`,
  ];
}

function milliseconds(seconds: number): string {
  return short(Number((seconds * 1000).toPrecision(3)));
}

function speedTable({ lengths, machine, threads }: MeasuredSpeed): string {
  const table = textTable(
    ["tokens", "original, ms", "converted, ms", "times as fast", "original, MB", "converted, MB"],
    lengths.map(({ length, original, converted }) => [
      grouped(length),
      milliseconds(original.seconds),
      milliseconds(converted.seconds),
      short(Number((original.seconds / converted.seconds).toPrecision(3))),
      grouped(Math.round(original.peakBytes / 1e6)),
      grouped(Math.round(converted.peakBytes / 1e6)),
    ]),
  );
  return `${table}\n${describeCrossing({ lengths })} Measured with ${counted(threads, "thread")} on ${machine}.`;
}

/** Features that lose far more quality without `--calibrate`. */
const fitted: readonly string[] = ["positive", "oprf", "dense-exponential"];

/** What the user should do after a conversion without data. */
function advice({ options, calibration, evaluation, sites }: FavorFile): string[] {
  const isConverted = sites.some(({ state }) => state === "linear");
  const isFitted = calibration !== undefined || !fitted.includes(options.features);
  const how =
    options.stateful === true
      ? "convert without --stateful, which computes the same, and pass a file of sequences with --evaluate."
      : "pass a file of sequences with --evaluate.";
  return [
    ...(isConverted && !isFitted
      ? [
          "The features were not calibrated. Uncalibrated features lose far more quality: pass a file of your sequences with --calibrate.",
        ]
      : []),
    ...(evaluation === undefined && isConverted ? [`The quality was not measured: ${how}`] : []),
  ];
}

/** The output of `verify`. */
export function verificationText({ passed, checks, evaluation }: Verification): string {
  const lines = checks.map((check) =>
    wrapped(`${check.passed ? "ok    " : "FAILED"}  ${check.name}: ${check.found}`, " ".repeat(8)),
  );
  if (evaluation !== undefined) lines.push(...evaluationLines(evaluation));
  lines.push(passed ? "Verified." : "Verification failed.");
  return lines.join("\n");
}
