import { RandomStream, streamPurpose } from "@favor/core";

/** Records that are considered; the rest of a longer file is not read. */
const sampledFrom = 1_000_000;

/**
 * Draws a uniform sample of `count` items without replacement, in their original order (reservoir sampling). Files are
 * often sorted by source or length, so their first items would not be representative. Shorter files give fewer items.
 *
 * @param seed - 0 to 2^53 - 1; the same seed picks the same items.
 */
export async function sampleOf<T>(items: AsyncIterable<T>, count: number, seed: number): Promise<T[]> {
  const random = new RandomStream({ seed, purpose: streamPurpose.sampling });
  const reservoir: { readonly item: T; readonly index: number }[] = [];
  let index = 0;
  for await (const item of items) {
    if (reservoir.length < count) reservoir.push({ item, index });
    else {
      const slot = random.integer(index + 1);
      if (slot < count) reservoir[slot] = { item, index };
    }
    index++;
    if (index >= sampledFrom) break;
  }
  return reservoir.toSorted((a, b) => a.index - b.index).map(({ item }) => item);
}

/** The share of a sample that is kept for the longest items. */
const longestShare = 0.02;

/**
 * Like {@link sampleOf}, but of items that have a length. The longest ones of all, 2 % of the sample and one at least, are
 * in it: lengths that are rare among the items would be missing otherwise.
 *
 * @returns the sample in the items' order, and how many are in it for their length alone.
 */
export async function sampleWithLongest<T>(
  items: AsyncIterable<T>,
  count: number,
  lengthOf: (item: T) => number,
  seed: number,
): Promise<{ readonly sample: T[]; readonly added: number }> {
  const longest: { readonly item: T; readonly index: number }[] = [];
  const kept = Math.max(1, Math.floor(longestShare * count));
  let index = 0;
  async function* noted(): AsyncGenerator<{ readonly item: T; readonly index: number }, void> {
    for await (const item of items) {
      const one = { item, index: index++ };
      const last = longest.at(-1);
      if (longest.length < kept || lengthOf(item) > lengthOf(last!.item)) {
        const place = longest.findIndex((other) => lengthOf(other.item) < lengthOf(item));
        longest.splice(place < 0 ? longest.length : place, 0, one);
        if (longest.length > kept) longest.pop();
      }
      yield one;
    }
  }
  const drawn = await sampleOf(noted(), count, seed);
  const indices = new Set(drawn.map((one) => one.index));
  const added = longest.filter((one) => !indices.has(one.index));
  const long = new Set(longest.map((one) => one.index));
  // Which of the others make place does not depend on their length.
  const others = drawn.filter((one) => !long.has(one.index));
  const leaving = new Set(await sampleOf(asStream(others), added.length, seed));
  const sample = [...drawn.filter((one) => !leaving.has(one)), ...added].toSorted((a, b) => a.index - b.index);
  return { sample: sample.map(({ item }) => item), added: added.length };
}

async function* asStream<T>(items: readonly T[]): AsyncGenerator<T, void> {
  yield* items;
}

/** Number of the stream for items that are all in memory, so that it does not repeat the draw from their file. */
const heldStream = 2;

/** Like {@link sampleOf}, of items that are all in memory. */
export function sampleOfAll<T>(items: readonly T[], count: number, seed: number): T[] {
  const random = new RandomStream({ seed, purpose: streamPurpose.sampling, layer: heldStream });
  let taken = 0;
  // Selection sampling: exactly `count`, every subset equally likely.
  return items.filter((_, index) => {
    if (random.uniform() * (items.length - index) >= count - taken) return false;
    taken++;
    return true;
  });
}
