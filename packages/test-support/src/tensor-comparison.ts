import { DataType } from "@favor/onnx";
import type { Tensor } from "@favor/onnx/evaluate";

/** What operators that round to these types after each step may differ by, relatively: a few units in the last place. */
const coarse: ReadonlyMap<number, number> = new Map([
  [DataType.FLOAT16, 2 ** -8],
  [DataType.BFLOAT16, 2 ** -5],
]);

/** The first place where two tensors differ by more than atol + rtol |expected|, in words; undefined if none. */
export function difference(found: Tensor, expected: Tensor, rtol: number, atol: number): string | undefined {
  if (found.dataType !== expected.dataType) return `data type ${found.dataType}, expected ${expected.dataType}`;
  if (found.dims.join() !== expected.dims.join()) {
    return `shape [${found.dims.join(", ")}], expected [${expected.dims.join(", ")}]`;
  }
  const relative = Math.max(rtol, coarse.get(expected.dataType) ?? 0);
  for (let i = 0; i < expected.data.length; i++) {
    const a = found.data[i]!;
    const b = expected.data[i]!;
    // Object.is would tell 0 and -0 apart.
    const same = a === b || (Number.isNaN(a) && Number.isNaN(b));
    if (!same && !(Math.abs(a - b) <= atol + relative * Math.abs(b))) return `element ${i} is ${a}, expected ${b}`;
  }
  return undefined;
}
