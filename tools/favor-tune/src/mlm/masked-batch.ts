import { maskSequence } from "@favor/measure";
import type { TokenSequence } from "@favor/measure/tokens";

/** What masking needs of a tokenizer. */
export interface Masking {
  readonly maskId: number;
  readonly specialIds: ReadonlySet<number>;
  /** Ids that a random token is drawn from. */
  readonly replacements: readonly number[];
  readonly seed: number;
}

/** Sequences with hidden tokens, padded to one length, and which of their rows are to be predicted. */
export interface MaskedBatch {
  readonly rows: readonly (readonly number[])[];
  /** Of every row, with padding. */
  readonly length: number;
  /** row * length + position of each hidden token. */
  readonly places: Int32Array;
  /** What stands there. */
  readonly targets: Int32Array;
  /** Tokens, padding not counted. */
  readonly tokens: number;
}

/**
 * Masks sequences (BERT's 15 %, see `maskSequence`) and pads them to the longest.
 *
 * @param first - number of the first sequence within the whole training: with the seed it determines the masks.
 * @param fixedLength - the length that the model demands, or undefined.
 */
export function maskBatch(
  sequences: readonly TokenSequence[],
  first: number,
  masking: Masking,
  fixedLength: number | undefined,
): MaskedBatch {
  const masked = sequences.map(({ ids }, i) =>
    maskSequence(ids, first + i, masking.seed, masking, masking.replacements),
  );
  const length = fixedLength ?? Math.max(...masked.map(({ ids }) => ids.length));
  const places = masked.flatMap(({ positions }, row) => positions.map((position) => row * length + position));
  return {
    rows: masked.map(({ ids }) => ids),
    length,
    places: Int32Array.from(places),
    targets: Int32Array.from(masked.flatMap(({ targets }) => targets)),
    tokens: masked.reduce((sum, { ids }) => sum + ids.length, 0),
  };
}
