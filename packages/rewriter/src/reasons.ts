/** An attention layer and why it stays. The codes of a `favor.json` may be of another version, hence any string. */
export interface SiteReasons {
  readonly layer: number;
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
}

/**
 * One line per reason, with the layers it holds for: "layers 0-7, 9, code: Message." If the messages differ only in the
 * nodes they name, the line names those of the first layer.
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
export function describeLayers(layers: readonly number[]): string {
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
