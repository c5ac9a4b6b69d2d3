import { stridedPositions } from "@favor/onnx/evaluate";

/**
 * Rearranges row-major data from one order of axis labels to another.
 *
 * @param dims sizes in the order of `from`
 * @param from one label per axis
 * @param to the same labels in the wanted order
 */
export function relabel(
  data: ArrayLike<number>,
  dims: readonly number[],
  from: string,
  to: string,
): { data: Float64Array; dims: number[] } {
  if (from === to) return { data: new Float64Array(data), dims: [...dims] };
  const strides = new Map<string, number>();
  const sizes = new Map<string, number>();
  let stride = 1;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    strides.set(from[axis]!, stride);
    sizes.set(from[axis]!, dims[axis]!);
    stride *= dims[axis]!;
  }
  const outDims = [...to].map((label) => sizes.get(label)!);
  const outStrides = [...to].map((label) => strides.get(label)!);
  const out = new Float64Array(stride);
  const positions = stridedPositions(outDims, outStrides);
  for (let i = 0; i < stride; i++) out[i] = data[positions[i]!]!;
  return { data: out, dims: outDims };
}
