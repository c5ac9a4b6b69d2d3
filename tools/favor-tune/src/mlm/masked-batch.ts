import { maskSequence } from "@favor/measure";
import type { TokenSequence } from "@favor/measure/tokens";

/** What masking needs to know. */
export interface Masking {
  readonly maskId: number;
  readonly specialIds: ReadonlySet<number>;
  /** Ids from which random tokens are drawn. */
  readonly replacements: readonly number[];
  readonly seed: number;
}

/** Masked sequences padded to one length, and the tokens to predict. */
export interface MaskedBatch {
  readonly rows: readonly (readonly number[])[];
  /** Length of every row, with padding. */
  readonly length: number;
  /** row * length + position of each token to predict. */
  readonly places: Int32Array;
  /** The token ids to predict there. */
  readonly targets: Int32Array;
  /** Number of tokens, without padding. */
  readonly tokens: number;
}

/**
 * Masks sequences (BERT's 15 %, see `maskSequence`) and pads them to the longest.
 *
 * @param first - number of the first sequence in the whole training; it determines the masks, together with the seed.
 * @param fixedLength - the length that the model requires, or undefined.
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
