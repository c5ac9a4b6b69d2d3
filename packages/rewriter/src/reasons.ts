import type { Reason } from "./attention/site.ts";

/** An attention and what speaks against replacing it. */
export interface SiteReasons {
  readonly layer: number;
  readonly reasons: readonly Reason[];
}

/**
 * Each reason once, a line each, with the layers that it holds for: "layers 0-7, 9, code: Message."; the nodes that it
 * names are those of the first.
 */
export function reasonLines(sites: readonly SiteReasons[]): string[] {
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
