import { textTable } from "./command-line/text-table.ts";
import type { ConvertResult } from "./commands/convert.ts";
import type { Inspection } from "./commands/inspect.ts";
import type { Verification } from "./commands/verify.ts";
import { short } from "./report/numbers.ts";
import { describeEvaluation, summary } from "./report/summary.ts";

interface SiteLine {
  readonly layer: number;
  readonly kind: string;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly mask: { readonly kind: string };
  readonly reasons: readonly { readonly code: string }[];
}

function siteTable<T extends SiteLine>(sites: readonly T[], last: string, outcome: (site: T) => string): string {
  return textTable(
    ["layer", "kind", "heads", "head dim", "scale", "mask", last],
    sites.map((site) => [
      site.layer,
      site.kind,
      site.heads === site.keyValueHeads ? site.heads : `${site.heads}/${site.keyValueHeads}`,
      site.headDim,
      short(site.scale),
      site.mask.kind,
      [outcome(site), ...site.reasons.map((reason) => reason.code)].join(" "),
    ]),
  );
}

/** Each reason once, with the sites it holds for. */
function reasonLines(
  sites: readonly { readonly name: string; readonly reasons: readonly { readonly message: string }[] }[],
): string[] {
  return sites.flatMap((site) => site.reasons.map((reason) => `${site.name}: ${reason.message}`));
}

/** What `inspect` prints. */
export function inspectionText({ model, sites, notes }: Inspection): string {
  const convertible = sites.filter((site) => site.verdict === "convert").length;
  return [
    siteTable(sites, "verdict", (site) => site.verdict),
    ...reasonLines(sites),
    ...notes,
    `${model}: ${convertible} of ${sites.length} attention sites may be replaced.`,
  ].join("\n");
}

/** What `convert` prints. */
export function conversionText({ folder, sites, notes, favor }: ConvertResult): string {
  const lines = [siteTable(sites, "state", (site) => site.state), ...reasonLines(sites), ...notes];
  if (favor !== undefined) {
    lines.push(summary(favor));
    if (favor.evaluation !== undefined) lines.push(describeEvaluation(favor.evaluation));
  }
  lines.push(folder === undefined ? "Dry run: nothing was written." : `Wrote ${folder} (see report.html there).`);
  return lines.join("\n");
}

/** What `verify` prints. */
export function verificationText({ passed, checks, evaluation }: Verification): string {
  const lines = [
    textTable(
      ["check", "", "found"],
      checks.map((check) => [check.name, check.passed ? "ok" : "FAILED", check.found]),
    ),
  ];
  if (evaluation !== undefined) lines.push(describeEvaluation(evaluation));
  lines.push(passed ? "Verified." : "Verification failed.");
  return lines.join("\n");
}
