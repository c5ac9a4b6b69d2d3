import type { AttentionSite } from "../attention/site.ts";

import type { NodeBuilder } from "@favor/onnx/graph";
import type { SiteInputs } from "./site-inputs.ts";

/** The value of masked logits: the lowest float32, so that a fully masked row stays finite. */
const lowest = -3.4028234663852886e38;

/**
 * Writes softmax(scale Q K^T + mask) V again, from the site's fields alone. It is as quadratic as before, and proves
 * that the site was understood.
 *
 * @returns [batch, heads, queries, valueDim]
 */
export function emitExact(build: NodeBuilder, site: AttentionSite, inputs: SiteInputs): string {
  const product = build.op("MatMul", [inputs.query, inputs.keyColumns]);
  let logits = build.op("Mul", [product, build.scalar(site.logitScale)]);
  if (inputs.keep !== undefined) logits = build.op("Where", [inputs.keep, logits, build.scalar(lowest)]);
  if (site.causal) logits = build.op("Where", [causalMask(build, logits), logits, build.scalar(lowest)]);
  return build.op("MatMul", [build.softmax(logits), inputs.value]);
}

/** k <= i + keys - queries as booleans [queries, keys]. */
function causalMask(build: NodeBuilder, logits: string): string {
  const [queries, keys] = [build.dimension(logits, 2), build.dimension(logits, 3)];
  const last = build.op("Add", [build.range(queries), build.op("Sub", [keys, queries])]);
  // GreaterOrEqual came with opset 12.
  return build.op("Not", [build.op("Less", [build.unsqueeze(last, [1]), build.unsqueeze(build.range(keys), [0])])]);
}
