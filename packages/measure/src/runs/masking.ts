import { RandomStream, streamPurpose } from "@favor/core";

import type { SequenceTokenizer } from "../tokens/tokenizer.ts";

/** A sequence with some tokens hidden, and what they were. */
export interface MaskedSequence {
  readonly ids: readonly number[];
  /** Positions to predict, ascending. */
  readonly positions: readonly number[];
  /** The true id at each of `positions`. */
  readonly targets: readonly number[];
}

/** The share of ordinary tokens to predict (BERT, Devlin et al. 2018, section 3.1). */
export const maskedShare = 0.15;

/** Stream number of the masks; stream 0 draws records. */
const maskStream = 1;

/**
 * BERT's masking. Each ordinary token is chosen with probability 15 %. Of the chosen tokens, 80 % become the mask token,
 * 10 % a random ordinary token, and 10 % stay. The result depends only on `seed` and `index`, so every model, batch size
 * and machine sees the same inputs.
 *
 * @param ids - token ids, including special tokens, which are never chosen.
 * @param index - the sequence's number.
 * @param replacements - ids that a random token is drawn from.
 */
export function maskSequence(
  ids: readonly number[],
  index: number,
  seed: number,
  tokenizer: Pick<SequenceTokenizer, "specialIds"> & { readonly maskId: number },
  replacements: readonly number[],
): MaskedSequence {
  const random = new RandomStream({ seed, purpose: streamPurpose.sampling, layer: maskStream, epoch: index });
  const masked = [...ids];
  const positions: number[] = [];
  const targets: number[] = [];
  for (const [position, id] of ids.entries()) {
    if (tokenizer.specialIds.has(id) || random.uniform() >= maskedShare) continue;
    positions.push(position);
    targets.push(id);
    const kind = random.uniform();
    if (kind < 0.8) masked[position] = tokenizer.maskId;
    else if (kind < 0.9) masked[position] = replacements[random.integer(replacements.length)]!;
  }
  return { ids: masked, positions, targets };
}

/** The ids of a vocabulary that stand for text. */
export function ordinaryIds(tokenizer: Pick<SequenceTokenizer, "specialIds" | "size">): number[] {
  return Array.from({ length: tokenizer.size }, (_, id) => id).filter((id) => !tokenizer.specialIds.has(id));
}
