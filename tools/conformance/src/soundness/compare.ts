import type { Tensor } from "onnxruntime-node";
import type { Trial } from "./feeds.ts";

type Outputs = Readonly<Record<string, Tensor>>;

/**
 * Largest difference between two runs, relative to the largest output. What stands at padding counts for nothing; as
 * a mutation may have turned the mask's meaning round, the smaller of the differences at real and at padded positions
 * is taken.
 */
export function compareRuns(expected: Outputs, found: Outputs | undefined, { mask }: Trial): number {
  if (found === undefined) return Infinity;
  return Math.max(
    ...Object.entries(expected).map(([name, tensor]) => {
      const other = found[name];
      if (other === undefined || other.dims.join() !== tensor.dims.join()) return Infinity;
      const isPerPosition = mask?.dims.every((dim, axis) => tensor.dims[axis] === dim) ?? false;
      if (!isPerPosition || !mask!.values.includes(0)) return difference(tensor, other, () => true);
      const width = tensor.data.length / mask!.values.length;
      const at = (kept: number) => difference(tensor, other, (i) => mask!.values[Math.floor(i / width)] === kept);
      return Math.min(at(1), at(0));
    }),
  );
}

function difference({ data, type }: Tensor, other: Tensor, counts: (i: number) => boolean): number {
  const [a, b] = [data, other.data] as [ArrayLike<number | bigint>, ArrayLike<number | bigint>];
  if (type === "float16" || type === "string") return 0;
  let [worst, largest] = [0, 1e-6];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [Number(a[i]), Number(b[i])];
    // A row that attends to nothing is NaN in some models, and never in ours.
    if (Number.isNaN(x) || x === y || !counts(i)) continue;
    const apart = Math.abs(x - y);
    worst = Number.isNaN(apart) ? Infinity : Math.max(worst, apart);
    if (Number.isFinite(x)) largest = Math.max(largest, Math.abs(x));
  }
  return worst / largest;
}
