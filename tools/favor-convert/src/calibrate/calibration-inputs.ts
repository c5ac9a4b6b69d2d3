import { maskSequence, ordinaryIds } from "@favor/measure";
import type { SequenceTokenizer, TokenSequence } from "@favor/measure/tokens";

/**
 * The inputs on which queries and keys are collected. A masked language model is used on masked inputs, where its
 * activations differ, so its inputs are masked as in training (15 % of the tokens). Other models see the sequences
 * unchanged.
 *
 * @param isMaskedModel - whether the model has logits over its vocabulary.
 * @param seed - seed of the masks.
 * @returns token ids of each sequence.
 */
export function calibrationInputs(
  sequences: readonly TokenSequence[],
  tokenizer: SequenceTokenizer,
  isMaskedModel: boolean,
  seed: number,
): (readonly number[])[] {
  const { maskId, specialIds } = tokenizer;
  const plain = sequences.map(({ ids }) => ids);
  if (!isMaskedModel || maskId === undefined) return plain;
  const replacements = ordinaryIds(tokenizer);
  return plain.map((ids, index) => maskSequence(ids, index, seed, { specialIds, maskId }, replacements).ids);
}
