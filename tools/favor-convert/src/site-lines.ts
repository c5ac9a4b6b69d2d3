import { textTable } from "./command-line/text-table.ts";
import { short } from "./report/numbers.ts";

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

/** Each reason once, with the layers that it holds for; the nodes that it names are those of the first. */
export function reasonLines(sites: readonly SiteLine[]): string[] {
  const groups = new Map<string, { code: string; message: string; layers: number[]; alike: boolean }>();
  for (const { layer, reasons } of sites) {
    for (const { code, message } of reasons) {
      const key = `${code} ${message.replaceAll(/"[^"]*"/g, '""')}`;
      const group = groups.get(key) ?? { code, message, layers: [], alike: true };
      group.layers.push(layer);
      group.alike &&= group.message === message;
      groups.set(key, group);
    }
  }
  return [...groups.values()].map(({ code, message, layers, alike }) => {
    const first = alike ? "" : ` (The names are those of the first.)`;
    return `${describeLayers(layers)}, ${code}: ${message}${first}`;
  });
}

/** `layer 3`, `layers 0-7, 9`. */
function describeLayers(layers: readonly number[]): string {
  const sorted = [...new Set(layers)].toSorted((a, b) => a - b);
  const runs: [first: number, last: number][] = [];
  for (const layer of sorted) {
    const run = runs.at(-1);
    if (run !== undefined && run[1] === layer - 1) run[1] = layer;
    else runs.push([layer, layer]);
  }
  const text = runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(", ");
  return `${sorted.length === 1 ? "layer" : "layers"} ${text}`;
}
