import { reasonLines } from "@favor/rewriter";

import { wrapped } from "@favor/command-line";
import type { ConvertResult, DryRunResult } from "./commands/convert.ts";
import type { Inspection } from "./commands/inspect.ts";
import type { Verification } from "./commands/verify.ts";
import type { FavorFile } from "@favor/report";
import { describeEvaluation, summary } from "@favor/report";
import { siteTable } from "./site-lines.ts";

/** The output of `inspect`. */
export function inspectionText({ model, sites, notes, operators }: Inspection): string {
  if (sites.length === 0) return [...notes, withoutAttention(model, operators)].join("\n");
  const convertible = sites.filter((site) => site.verdict === "convert").length;
  const rest = convertible === 0 || convertible === sites.length ? "" : " The others stay softmax.";
  return [
    siteTable(sites, "verdict", (site) => (site.mask.band ? "window" : site.verdict)),
    ...reasonLines(sites),
    ...notes,
    `${model}: ${convertible} of ${sites.length} attention sites can be replaced.${rest}`,
  ].join("\n");
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

/** The output of `convert`. */
export function conversionText({ folder, sites, notes, favor }: ConvertResult | DryRunResult): string {
  const lines = [siteTable(sites, "state", (site) => site.state), ...reasonLines(sites), ...notes];
  if (favor !== undefined) {
    lines.push(summary(favor));
    if (favor.evaluation !== undefined) lines.push(describeEvaluation(favor.evaluation));
    lines.push(...advice(favor));
  }
  lines.push(folder === undefined ? "Dry run: nothing was written." : `Wrote ${folder} (see report.html there).`);
  return lines.join("\n");
}

/** Features that lose far more quality without `--calibrate`. */
const fitted: readonly string[] = ["positive", "oprf", "dense-exponential"];

/** What the user should do after a conversion without data. */
function advice({ options, calibration, evaluation, sites }: FavorFile): string[] {
  const isConverted = sites.some(({ state }) => state === "converted");
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
    ...(evaluation === undefined ? [`The quality was not measured: ${how}`] : []),
  ];
}

/** The output of `verify`. */
export function verificationText({ passed, checks, evaluation }: Verification): string {
  const lines = checks.map((check) =>
    wrapped(`${check.passed ? "ok    " : "FAILED"}  ${check.name}: ${check.found}`, " ".repeat(8)),
  );
  if (evaluation !== undefined) lines.push(describeEvaluation(evaluation));
  lines.push(passed ? "Verified." : "Verification failed.");
  return lines.join("\n");
}
