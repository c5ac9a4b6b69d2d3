import { requireInteger } from "../checks.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";
import { cosSinTurn, log } from "./elementary.ts";
import { philox4x32 } from "./philox.ts";

const twoToMinus53 = 1 / 9007199254740992;

/** What a stream is drawn for. Streams of different purposes never share a number. The values are stable. */
export const streamPurpose = {
  projection: 1,
  norms: 2,
  phase: 3,
  clustering: 4,
  sampling: 5,
  trials: 6,
  refinement: 7,
} as const;

/** Names one stream of random numbers. */
export interface StreamAddress {
  /** 0 to 2^53 - 1. */
  readonly seed: number;
  /** One of {@link streamPurpose}. */
  readonly purpose: number;
  /** 0 (default) to 65535. */
  readonly layer?: number;
  /** 0 (default) to 65535. */
  readonly head?: number;
  /** Redraw number: 0 (default) to 2^32 - 1. */
  readonly epoch?: number;
}

const addressNames: OptionNames<StreamAddress> = { seed: true, purpose: true, layer: true, head: true, epoch: true };

/**
 * A stream of random numbers, the same bit for bit on every engine: Philox4x32-10 keyed by the seed, with a counter
 * that holds (block, layer and head, epoch, purpose).
 *
 * @throws ArgumentError if a part of the address is out of range.
 */
export class RandomStream {
  readonly #counter: Uint32Array = new Uint32Array(4);
  readonly #words: Uint32Array = new Uint32Array(4);
  readonly #key0: number;
  readonly #key1: number;
  #used = 4;
  #spareGaussian: number | undefined;

  constructor(address: StreamAddress) {
    requireOptions("address", address, addressNames, "{ seed: 0, purpose: streamPurpose.trials }");
    const { seed, purpose, layer = 0, head = 0, epoch = 0 } = address;
    requireInteger("seed", seed, 0, Number.MAX_SAFE_INTEGER);
    requireInteger("purpose", purpose, 0, 0xffffffff);
    requireInteger("layer", layer, 0, 0xffff);
    requireInteger("head", head, 0, 0xffff);
    requireInteger("epoch", epoch, 0, 0xffffffff);
    this.#key0 = seed % 0x100000000;
    this.#key1 = Math.floor(seed / 0x100000000);
    this.#counter[1] = layer * 0x10000 + head;
    this.#counter[2] = epoch;
    this.#counter[3] = purpose;
  }

  /** The next unsigned 32-bit integer. */
  uint32(): number {
    if (this.#used === 4) {
      philox4x32(this.#counter, this.#key0, this.#key1, this.#words);
      this.#counter[0]!++;
      this.#used = 0;
    }
    return this.#words[this.#used++]!;
  }

  /** Uniform on [0, 1) with 53 random bits. */
  uniform(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 0x4000000 + low) * twoToMinus53;
  }

  /** Uniform on the integers 0 to bound - 1, without bias, for a bound of at most 2^32. */
  integer(bound: number): number {
    requireInteger("bound", bound, 1, 0x100000000);
    // Words of the last, incomplete run of `bound` values would favour the small ones.
    const limit = 0x100000000 - (0x100000000 % bound);
    let word = this.uint32();
    while (word >= limit) word = this.uint32();
    return word % bound;
  }

  /** 0 to count - 1 in random order, each order as likely as any other (Fisher and Yates). */
  permutation(count: number): Uint32Array {
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const kept = order[i]!;
      order[i] = order[j]!;
      order[j] = kept;
    }
    return order;
  }

  /** +1 or -1. */
  sign(): number {
    return this.uint32() & 1 ? 1 : -1;
  }

  /** Standard normal, by the Box-Muller transform: sqrt(-2 log u1) times the cosine and the sine of 2 pi u2. */
  gaussian(): number {
    const spare = this.#spareGaussian;
    if (spare !== undefined) {
      this.#spareGaussian = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * log(1 - this.uniform()));
    const [cos, sin] = cosSinTurn(this.uniform());
    this.#spareGaussian = radius * sin;
    return radius * cos;
  }

  /** `count` standard normals. */
  gaussians(count: number): Float64Array {
    const out = new Float64Array(count);
    for (let i = 0; i < count; i++) out[i] = this.gaussian();
    return out;
  }
}
