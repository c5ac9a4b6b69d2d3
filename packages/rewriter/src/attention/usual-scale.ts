import type { AttentionSite } from "./site.ts";
import { DataType } from "@favor/onnx";

/** Relative error of a scale that was read off 16-bit probabilities. */
const readingErrors: ReadonlyMap<number, number> = new Map([
  [DataType.FLOAT16, 2e-3],
  [DataType.BFLOAT16, 1e-2],
]);

/**
 * Corrects the scale of the logits, which was read off probabilities. Those of 16 bits give it to three digits, and if
 * logits reach thousands, the fourth digit matters. If the scale is 1 within that error, or completes the factors of
 * queries and keys to the usual d^(-1/2), exactly that is taken.
 */
export function withUsualScale(site: AttentionSite): AttentionSite {
  const { logitScale, queryScale, keyScale, headDim } = site;
  const error = readingErrors.get(site.dataType);
  if (error === undefined) return site;
  const usual = 1 / Math.sqrt(headDim) / (queryScale * keyScale);
  const exact = [usual, 1].find((scale) => Math.abs(logitScale - scale) < error * scale);
  return exact === undefined ? site : { ...site, logitScale: exact };
}
