import { heads } from "@favor/test-support/layer";
import type { Layer } from "@favor/test-support/layer";

/** Softmax as a node of its own, along an axis. */
export const soft = (b: Layer, logits: string, axis: number = -1): string =>
  b.op("Softmax", [logits], { axis: { int: axis } });

/** Attention whose heads are concatenated along the batch: entry i is of batch item i mod batch. */
export function headsSlowest(b: Layer, mask: (logits: string) => string): string {
  const fold = (): string => b.concat(b.ops("Split", [b.linear("x")], heads, { axis: { int: 2 } }), 0);
  const logits = b.op("Mul", [b.op("MatMul", [fold(), b.transpose(fold(), [0, 2, 1])]), b.scalar(0.35)]);
  const made = b.op("MatMul", [soft(b, mask(logits)), fold()]);
  return b.concat(b.ops("Split", [made], heads, { axis: { int: 0 } }), 2);
}
