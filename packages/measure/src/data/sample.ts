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
