import { shown, type NodeCall } from "./node-call.ts";

/** Number of elements of a tensor of shape `dims`; 1 for a scalar. */
export function elementCount(dims: readonly number[]): number {
  let count = 1;
  for (const dim of dims) count *= dim;
  return count;
}

/** Fails unless a tensor of shape `from` may be given the shape `to`. */
export function checkReshape(call: NodeCall<unknown>, from: readonly number[], to: readonly number[]): void {
  if (elementCount(from) !== elementCount(to) || to.some((dim) => !(Number.isInteger(dim) && dim >= 0))) {
    call.fail(`a tensor of shape ${shown(from)} cannot have the shape ${shown(to)}`);
  }
}

/** The common shape of numpy broadcasting. */
export function broadcastDims(call: NodeCall<unknown>, ...shapes: (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((dims) => dims.length));
  const result: number[] = Array.from({ length: rank }, () => 1);
  for (const dims of shapes) {
    for (let i = 0; i < dims.length; i++) {
      const at = rank - dims.length + i;
      const dim = dims[i]!;
      if (dim === 1 || dim === result[at]) continue;
      if (result[at] !== 1) {
        call.misfit(`shapes ${shapes.map(shown).join(" and ")} do not broadcast`, [dim, result[at]!]);
      }
      result[at] = dim;
    }
  }
  return result;
}

/** The shapes in a product of two batches of matrices. */
export interface MatrixProduct {
  readonly batch: number[];
  /** The left factor's matrices are [rows, inner], the right one's [inner, columns]. */
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
  /** Dimensions of the product: [...batch, rows, columns], without those that vectors lack. */
  readonly dims: number[];
}

/** numpy's matmul of `a` and `b`: batches broadcast, vectors count as one row or column, which the result then lacks. */
export function matrixProduct(call: NodeCall<unknown>, a: readonly number[], b: readonly number[]): MatrixProduct {
  if (a.length === 0 || b.length === 0) call.fail("its operands must not be scalars");
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  const [rows, inner] = left.slice(-2) as [number, number];
  const columns = right.at(-1)!;
  if (right.at(-2) !== inner) call.misfit(`shapes ${shown(a)} and ${shown(b)} cannot be multiplied`);
  const batch = broadcastDims(call, left.slice(0, -2), right.slice(0, -2));
  const dims = [...batch, ...(a.length === 1 ? [] : [rows]), ...(b.length === 1 ? [] : [columns])];
  return { batch, rows, inner, columns, dims };
}

/** The result of Shape: dimensions from `start` to `end` (opset 15; both clamped). */
export function shapeOf(call: NodeCall<unknown>, dims: readonly number[]): number[] {
  const clamp = (at: number): number => Math.min(Math.max(at < 0 ? at + dims.length : at, 0), dims.length);
  return dims.slice(clamp(call.int("start", 0)), clamp(call.int("end", dims.length)));
}

/** The shape after Reshape: 0 copies the input's dimension unless `allowzero`; -1 takes the rest. */
export function reshapedDims(call: NodeCall<unknown>, source: readonly number[]): number[] {
  const target = call.integersOr(1, "shape") ?? call.fail("the target shape is required");
  const copiesZero = call.int("allowzero", 0) === 0;
  const dims = target.map((dim, i) =>
    dim === 0 && copiesZero ? (source[i] ?? call.fail(`dimension ${i} of ${shown(target)} has nothing to copy`)) : dim,
  );
  const open = dims.indexOf(-1);
  if (open >= 0) {
    const known = elementCount(dims.filter((_, i) => i !== open));
    dims[open] = known === 0 ? 0 : elementCount(source) / known;
  }
  return dims;
}

/** The shape after Flatten, a matrix: the product of the dimensions before `axis`, and that of the rest. */
export function flattenedDims(call: NodeCall<unknown>, dims: readonly number[]): [number, number] {
  const axis = call.axis(call.int("axis", 1), dims.length, true);
  return [elementCount(dims.slice(0, axis)), elementCount(dims.slice(axis))];
}

/** The shape after Squeeze. Axes are an attribute before opset 13; without them, every dimension of 1 is removed. */
export function squeezedDims(call: NodeCall<unknown>, dims: readonly number[]): number[] {
  const axes = call.integersOr(1, "axes")?.map((axis) => call.axis(axis, dims.length));
  return dims.filter((dim, i) => (axes === undefined ? dim !== 1 : !axes.includes(i)));
}

/** The shape after Unsqueeze. Axes refer to the result, and are an attribute before opset 13. */
export function unsqueezedDims(call: NodeCall<unknown>, dims: readonly number[]): number[] {
  const given = call.integersOr(1, "axes") ?? call.fail("the axes are required");
  const rank = dims.length + given.length;
  const axes = new Set(given.map((axis) => call.axis(axis, rank)));
  if (axes.size !== given.length) call.fail(`axes ${shown(given)} name one twice`);
  const rest = dims.values();
  return Array.from({ length: rank }, (_, i) => (axes.has(i) ? 1 : rest.next().value!));
}

/** The shape after Expand, which broadcasts both ways: a dimension of 1 in the target keeps the input's. */
export function expandedDims(call: NodeCall<unknown>, dims: readonly number[]): number[] {
  return broadcastDims(call, dims, call.integers(1) ?? call.fail("the target shape is required"));
}
