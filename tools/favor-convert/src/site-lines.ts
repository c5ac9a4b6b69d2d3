import { textTable } from "@favor/command-line";
import { maskName } from "@favor/report";
import { short } from "@favor/measure/numbers";
import type { SiteReport } from "@favor/rewriter";

/**
 * A table of every attention with its outcome, for the terminal.
 *
 * @param last - heading of the column of outcomes.
 */
export function siteTable<T extends SiteReport>(
  sites: readonly T[],
  last: string,
  outcome: (site: T) => string,
): string {
  return textTable(
    ["layer", "kind", "heads", "head dim", "scale", "mask", last],
    sites.map((site) => [
      site.layer,
      kindOf(site),
      site.heads === site.keyValueHeads ? site.heads : `${site.heads}/${site.keyValueHeads}`,
      site.headDim,
      short(site.scale),
      maskName(site.mask),
      outcome(site),
    ]),
  );
}

/** Cached keys do not come from the queries' own tokens, so that neither "self" nor "cross" describes them. */
function kindOf({ kind, reasons }: SiteReport): string {
  return reasons.some(({ code }) => code === "kv-cache") ? "cached" : kind;
}
