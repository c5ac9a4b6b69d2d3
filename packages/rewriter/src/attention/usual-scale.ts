import type { AttentionSite } from "./site.ts";
import { DataType } from "@favor/onnx";

/** How far off a scale may be that was read off probabilities of 16 bits, relatively. */
const readingErrors: ReadonlyMap<number, number> = new Map([
  [DataType.FLOAT16, 2e-3],
  [DataType.BFLOAT16, 1e-2],
]);

/**
 * The scale of the logits is read off probabilities; those of 16 bits tell it to three digits, and logits of thousands
 * make much of the fourth. Where it is as good as none, or makes the usual d^(-1/2) of what queries and keys were
 * multiplied by, it is taken to be that.
 */
export function withUsualScale(site: AttentionSite): AttentionSite {
  const { logitScale, queryScale, keyScale, headDim } = site;
  const error = readingErrors.get(site.dataType);
  if (error === undefined) return site;
  const usual = 1 / Math.sqrt(headDim) / (queryScale * keyScale);
  const exact = [usual, 1].find((scale) => Math.abs(logitScale - scale) < error * scale);
  return exact === undefined ? site : { ...site, logitScale: exact };
}
