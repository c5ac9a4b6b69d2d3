import { RandomStream, streamPurpose } from "@favor/core";

/** Random choices for one mutated input: they depend only on the seed and the case. */
export class Choices {
  readonly #stream: RandomStream;

  constructor(seed: number, index: number) {
    this.#stream = new RandomStream({ seed, purpose: streamPurpose.sampling, epoch: index });
  }

  /** An integer from 0 to `count - 1`; 0 where `count` is 0. */
  below(count: number): number {
    return count === 0 ? 0 : this.#stream.uint32() % count;
  }

  chance(probability: number): boolean {
    return this.#stream.uint32() < probability * 2 ** 32;
  }

  /** One of the items, or undefined if there is none. */
  of<T>(items: readonly T[]): T | undefined {
    return items[this.below(items.length)];
  }

  /** An index, each as probable as its weight says. */
  weighted(weights: readonly number[]): number {
    let left = (this.#stream.uint32() / 2 ** 32) * weights.reduce((sum, weight) => sum + weight, 0);
    const at = weights.findIndex((weight) => (left -= weight) < 0);
    return at < 0 ? weights.length - 1 : at;
  }
}
