import type { RandomStream } from "../random/stream.ts";

/** The most queries taken from one input: more inputs tell more than more rows of a long one. */
const queriesPerInput = 128;

/** With exact keys, of how many blocks of queries they are: choosing blocks of keys is what takes time. */
const queryBlocksPerInput = 8;

/**
 * Which queries of an input are taken, as ascending numbers into `positions`: random ones (evenly spaced ones would see few
 * positions only), of a few blocks if the rows of a block choose their exact keys together.
 *
 * @param positions where the queries stand among the keys.
 * @param window the width of the blocks; 0: none.
 */
export function sampledQueries(positions: Uint32Array, window: number, stream: RandomStream): Uint32Array {
  if (window > 0) return rowsOfBlocks(positions, window, stream);
  return stream.permutation(positions.length).subarray(0, queriesPerInput).toSorted();
}

/** Some rows of some blocks of queries, as numbers into `positions`, ascending. */
function rowsOfBlocks(positions: Uint32Array, window: number, stream: RandomStream): Uint32Array {
  const byBlock = new Map<number, number[]>();
  for (const [row, position] of positions.entries()) {
    const block = Math.floor(position / window);
    const rows = byBlock.get(block);
    if (rows === undefined) byBlock.set(block, [row]);
    else rows.push(row);
  }
  const blocks = [...byBlock.values()];
  const perBlock = Math.ceil(queriesPerInput / Math.min(queryBlocksPerInput, blocks.length));
  const taken: number[] = [];
  for (const index of stream.permutation(blocks.length)) {
    if (taken.length >= queriesPerInput) break;
    const rows = blocks[index]!;
    for (const at of stream.permutation(rows.length).subarray(0, perBlock)) taken.push(rows[at]!);
  }
  return Uint32Array.from(taken).toSorted();
}
