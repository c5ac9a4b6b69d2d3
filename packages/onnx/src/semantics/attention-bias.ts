/** onnxruntime's mask of attention: its shape and numbers. */
interface Mask {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
}

interface WritableNumbers {
  readonly length: number;
  [index: number]: number;
}

/**
 * The shape of onnxruntime's attention mask as a bias that is added to scores `[batch, heads, queries, keys]`; undefined
 * if masks cannot have the given shape. Masks come raw, as `[batch, keys]`, `[batch, queries, keys]` or
 * `[batch, 1, queries, keys]`, or as the number of keys, `[batch]`; `[2 batch]` also gives the first key of each sequence.
 */
export function keyBiasDims({ dims, data }: Mask, batch: number, keys: number): readonly number[] | undefined {
  if (dims.length === 4) return dims;
  if (dims.length > 1) return [dims[0]!, 1, dims.length === 3 ? dims[1]! : 1, keys];
  return data.length === batch || data.length === 2 * batch ? [batch, 1, 1, keys] : undefined;
}

/** Fills the bias of {@link keyBiasDims}, given as zeros: `filter` where a key is hidden. A raw mask hides where it is 0. */
export function fillKeyBias(bias: WritableNumbers, { dims, data }: Mask, keys: number, filter: number): void {
  if (dims.length > 1) {
    for (let i = 0; i < bias.length; i++) if (data[i] === 0) bias[i] = filter;
    return;
  }
  const batch = bias.length / keys;
  for (let i = 0; i < bias.length; i++) {
    const row = Math.floor(i / keys);
    const start = data.length === batch ? 0 : data[batch + row]!;
    if (i % keys >= data[row]! || i % keys < start) bias[i] = filter;
  }
}

/** Fills a bias `[queries, keys]`, given as zeros: `filter` where a key comes after its query. The last query sees all. */
export function fillCausalBias(bias: WritableNumbers, queries: number, keys: number, filter: number): void {
  for (let i = 0; i < bias.length; i++) if (i % keys > Math.floor(i / keys) + keys - queries) bias[i] = filter;
}
