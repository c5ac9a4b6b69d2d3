import { textTable } from "@favor/command-line";
import { short } from "@favor/measure";

/** What the terminal shows of an attention. */
export interface SiteLine {
  readonly name: string;
  readonly layer: number;
  readonly kind: string;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly mask: { readonly kind: string };
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
}

/** Every attention with its outcome. */
export function siteTable<T extends SiteLine>(sites: readonly T[], last: string, outcome: (site: T) => string): string {
  return textTable(
    ["layer", "kind", "heads", "head dim", "scale", "mask", last],
    sites.map((site) => [
      site.layer,
      kindOf(site),
      site.heads === site.keyValueHeads ? site.heads : `${site.heads}/${site.keyValueHeads}`,
      site.headDim,
      short(site.scale),
      site.mask.kind,
      outcome(site),
    ]),
  );
}

/** Keys of a cache come from elsewhere than the queries, be it self-attention or not. */
function kindOf({ kind, reasons }: SiteLine): string {
  return reasons.some(({ code }) => code === "kv-cache") ? "cached" : kind;
}
