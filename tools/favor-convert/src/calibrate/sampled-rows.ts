import { RandomStream, streamPurpose } from "@favor/core";

/** Blocks of queries that are kept of a long input, and their width at least. */
const keptBlocks = 8;
const leastWidth = 64;

/** Number of the stream that chooses rows; draws from data files have others. */
const rowStream = 3;

/**
 * Which queries of an input are kept: whole blocks of them, at random, with all keys. Rows of the attention matrix tell
 * more if they are of more inputs, and blocks of keys are chosen by whole blocks of queries.
 *
 * @param window - the width of the blocks in which keys are chosen; 0: none are.
 * @param address - `seed` and the input's number.
 * @returns ascending; undefined: all.
 */
export function keptQueries(
  queries: number,
  window: number,
  { seed, number }: { readonly seed: number; readonly number: number },
): Uint32Array | undefined {
  const width = keptWidth(window);
  const blocks = Math.ceil(queries / width);
  if (blocks <= keptBlocks) return undefined;
  const stream = new RandomStream({ seed, purpose: streamPurpose.sampling, layer: rowStream, epoch: number });
  const rows: number[] = [];
  let taken = 0;
  for (let block = 0; block < blocks; block++) {
    // Selection sampling: exactly so many, every subset equally likely.
    if (stream.uniform() * (blocks - block) >= keptBlocks - taken) continue;
    taken++;
    for (let row = block * width; row < Math.min(queries, (block + 1) * width); row++) rows.push(row);
  }
  return Uint32Array.from(rows);
}

/** How many queries {@link keptQueries} keeps at most. */
export function keptCount(queries: number, window: number): number {
  return Math.min(queries, keptBlocks * keptWidth(window));
}

function keptWidth(window: number): number {
  return window === 0 ? leastWidth : window * Math.ceil(leastWidth / window);
}

/** Rows that one input counts for at most, as in `fitLandmarks`. */
const countedRows = 128;

/** The most keys to fit to, over all inputs: a head's fit takes about 3 kB of memory for each. */
const mostKeys = 3 << 14;

/** Numbers of the inputs to fit to and, of the others, to compare fits on; both spread over all. */
export interface Split {
  readonly fitted: readonly number[];
  readonly heldOut: readonly number[];
}

/** At least this share of the inputs is left for comparisons, if there are enough to divide. */
const heldOutShare = 0.2;

/**
 * Divides inputs into those to fit to, of about `fittedRows` queries, and those to compare on, of about `heldOutRows`.
 *
 * @param lengths - tokens per input.
 * @param numbers - of the inputs to divide; default: all.
 */
export function splitInputs(
  lengths: readonly number[],
  fittedRows: number,
  heldOutRows: number,
  numbers: readonly number[] = [...lengths.keys()],
): Split {
  const most = numbers.length < 5 ? numbers.length : Math.floor(numbers.length * (1 - heldOutShare));
  const fitted = spread(lengths, numbers, fittedRows, most);
  const taken = new Set(fitted);
  const others = numbers.filter((index) => !taken.has(index));
  return { fitted, heldOut: spread(lengths, others, heldOutRows, others.length) };
}

/** So many long inputs are enough to fit to and to compare on. */
const enoughInputs = 28;

/**
 * Numbers of the inputs that tell about features beside exact keys: of short ones nearly all keys are exact. They have at
 * least half as many tokens as the longest; a quarter, and so on, if those are too few.
 */
export function longInputs(lengths: readonly number[]): readonly number[] {
  const longest = Math.max(0, ...lengths);
  for (let least = longest / 2; least >= 1; least /= 2) {
    const numbers = [...lengths.keys()].filter((index) => lengths[index]! >= least);
    if (numbers.length >= enoughInputs) return numbers;
  }
  return [...lengths.keys()];
}

/** At most `most` of the numbered inputs, evenly spread, with about `rows` queries. */
function spread(lengths: readonly number[], numbers: readonly number[], rows: number, most: number): readonly number[] {
  if (numbers.length === 0 || rows === 0) return [];
  const all = numbers.reduce((sum, index) => sum + Math.min(lengths[index]!, countedRows), 0);
  const keys = numbers.reduce((sum, index) => sum + lengths[index]!, 0);
  const enough = numbers.length * Math.min(rows / Math.max(1, all), mostKeys / Math.max(1, keys));
  const count = Math.min(most, Math.max(1, Math.ceil(enough)));
  return Array.from({ length: count }, (_, i) => numbers[Math.floor(((i + 0.5) * numbers.length) / count)]!);
}
