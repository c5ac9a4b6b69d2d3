import type { TokenSequence } from "../tokens/tokenizer.ts";
import { ordinaryIds } from "./masking.ts";
import type { MaskedSequence } from "./masking.ts";
import type { MaskedComparison } from "./masked-language.ts";
import type { ModelRunner } from "./runner.ts";
import type { SequenceTokenizer } from "../tokens/tokenizer.ts";

/** The comparison of two decoders on the same texts: each token is predicted from those before it. */
export type NextTokenComparison = Omit<MaskedComparison, "maskedTokens"> & {
  /** All tokens but the first of each sequence. */
  readonly predictedTokens: number;
};

/** A sequence whose every token but the first is to be predicted, at the position before it. */
export function nextTokens({ ids }: Pick<TokenSequence, "ids">): MaskedSequence {
  return { ids, positions: ids.slice(1).map((_, position) => position), targets: ids.slice(1) };
}

/** Allowed difference of logits that should be equal, relative to the largest logit. */
const tolerance = 1e-4;

/**
 * Whether a model predicts each token from those before it: other tokens in the second half of a sequence change logits
 * there, and none in the first half.
 *
 * @param output - name of the logits, `[batch, length, vocabulary]`.
 * @param ids - a sequence; with fewer than two tokens, the answer is false.
 */
export async function isCausal(
  runner: ModelRunner,
  output: string,
  ids: readonly number[],
  tokenizer: Pick<SequenceTokenizer, "specialIds" | "size">,
): Promise<boolean> {
  const half = Math.floor(ids.length / 2);
  const [one, other] = ordinaryIds(tokenizer);
  if (half === 0 || one === undefined || other === undefined) return false;
  const changed = ids.map((id, at) => (at < half ? id : id === one ? other : one));
  const [before, after] = [await runner.run([ids], output), await runner.run([changed], output)];
  const split = half * before.width;
  const largest = before.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const differs = (from: number, to: number): boolean =>
    before.data.subarray(from, to).some((value, i) => Math.abs(value - after.data[from + i]!) > tolerance * largest);
  return !differs(0, split) && differs(split, ids.length * before.width);
}
