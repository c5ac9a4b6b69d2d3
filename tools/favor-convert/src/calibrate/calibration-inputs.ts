import { maskSequence, ordinaryIds } from "@favor/measure";
import type { SequenceTokenizer, TokenSequence } from "@favor/measure/tokens";

/**
 * What the model is run on to see its queries and keys. A masked language model is used on masked inputs, and its
 * activations differ there: it is calibrated on inputs masked as in its training (15 % of the tokens).
 * Any other model sees the sequences as they are.
 *
 * @param isMaskedModel - whether the model has logits over its vocabulary.
 * @param seed - of the masks.
 * @returns token ids, a sequence each, in the order of the sequences.
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
