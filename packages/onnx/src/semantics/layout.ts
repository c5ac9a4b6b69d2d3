import { shown, type NodeCall } from "./node-call.ts";

/** Fails unless `perm` names every axis of a tensor of shape `dims` once. */
export function checkPermutation(call: NodeCall<unknown>, perm: readonly number[], dims: readonly number[]): void {
  const rank = dims.length;
  if (perm.length !== rank || perm.some((axis) => !(axis >= 0 && axis < rank)) || new Set(perm).size !== rank) {
    call.fail(`perm ${shown(perm)} is no permutation of the axes of ${shown(dims)}`);
  }
}

/** The order of axes that Transpose asks for; reversed if it names none. */
export function permutationOf(call: NodeCall<unknown>, dims: readonly number[]): number[] {
  const perm = call.ints("perm") ?? dims.map((_, i) => dims.length - 1 - i);
  checkPermutation(call, perm, dims);
  return perm;
}

/** Split: lengths from the attribute (before opset 13), the input, or equal, the last smaller with num_outputs (18). */
export function splitLengths(
  call: NodeCall<unknown>,
  dims: readonly number[],
): { readonly axis: number; readonly lengths: number[] } {
  const axis = call.axis(call.int("axis", 0), dims.length);
  const length = dims[axis] ?? call.fail("it would split a scalar");
  const count = call.node.output.length;
  if (call.int("num_outputs", count) !== count) call.fail(`num_outputs is not ${count}, the number of its outputs`);
  const each = Math.ceil(length / count);
  const lengths =
    call.integersOr(1, "split") ??
    Array.from({ length: count }, (_, i) => Math.max(0, Math.min(each, length - i * each)));
  const total = lengths.reduce((a, b) => a + b, 0);
  if (lengths.some((part) => part < 0) || total !== length) {
    call.misfit(`lengths ${shown(lengths)} do not add up to dimension ${axis} of ${shown(dims)}`, [total]);
  }
  return { axis, lengths };
}

/** The positions of one axis that a slice keeps: `count` from `start`, `step` apart; backwards if `step` is negative. */
export interface SliceRange {
  readonly axis: number;
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/**
 * Slice has Python's bounds: negative ones count from the end, then all are clamped, so that INT64_MAX and INT64_MIN mean
 * "to the end". Bounds are attributes before opset 10, inputs since.
 */
export function sliceRanges(call: NodeCall<unknown>, dims: readonly number[]): SliceRange[] {
  const starts = call.integersOr(1, "starts") ?? call.fail("starts are required");
  const ends = call.integersOr(2, "ends") ?? call.fail("ends are required");
  const axes = call.integersOr(3, "axes") ?? starts.map((_, i) => i);
  const steps = call.integers(4) ?? starts.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
    call.fail("starts, ends, axes and steps differ in length");
  }
  return axes.map((given, i) => {
    const axis = call.axis(given, dims.length);
    const step = steps[i]!;
    if (step === 0) call.fail("a step is 0");
    const length = dims[axis]!;
    const bound = (at: number, low: number, high: number): number =>
      Math.min(Math.max(at < 0 ? at + length : at, low), high);
    const start = step > 0 ? bound(starts[i]!, 0, length) : bound(starts[i]!, 0, length - 1);
    const end = step > 0 ? bound(ends[i]!, 0, length) : bound(ends[i]!, -1, length - 1);
    return { axis, start, step, count: Math.max(0, Math.ceil((end - start) / step)) };
  });
}

/** Pad: positions added before and after each axis, or cut if negative. An attribute before opset 11; axes since 18. */
export function padWidths(
  call: NodeCall<unknown>,
  dims: readonly number[],
): { readonly before: number[]; readonly after: number[] } {
  const given = call.integersOr(1, "pads") ?? call.fail("pads are required");
  const axes = call.integers(3)?.map((axis) => call.axis(axis, dims.length)) ?? dims.map((_, i) => i);
  if (given.length !== 2 * axes.length) call.fail(`it has ${given.length} pads for ${axes.length} axes`);
  const [before, after] = [dims.map(() => 0), dims.map(() => 0)];
  for (const [i, axis] of axes.entries()) {
    before[axis] = given[i]!;
    after[axis] = given[i + axes.length]!;
  }
  return { before, after };
}

/** Tile: how often each axis is repeated. */
export function tileRepeats(call: NodeCall<unknown>, dims: readonly number[]): number[] {
  const repeats = call.integers(1) ?? call.fail("repeats are required");
  if (repeats.length !== dims.length) call.fail(`it has ${repeats.length} repeats for ${shown(dims)}`);
  return repeats;
}

/** Reshape to `divided`, Transpose by `perm`, Reshape to `dims`. */
export interface Rearrangement {
  readonly divided: number[];
  readonly perm: number[];
  readonly dims: number[];
}

/** DepthToSpace of [n, c, h, w]. */
export function depthToSpace(call: NodeCall<unknown>, source: readonly number[]): Rearrangement {
  const [n = 0, c = 0, h = 0, w = 0] = source;
  const b = call.int("blocksize", 1);
  const columnMajor = call.string("mode", "DCR") === "CRD";
  const depth = c / (b * b);
  return {
    divided: columnMajor ? [n, depth, b, b, h, w] : [n, b, b, depth, h, w],
    perm: columnMajor ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2],
    dims: [n, depth, h * b, w * b],
  };
}

/** SpaceToDepth of [n, c, h, w]. */
export function spaceToDepth(call: NodeCall<unknown>, source: readonly number[]): Rearrangement {
  const [n = 0, c = 0, h = 0, w = 0] = source;
  const b = call.int("blocksize", 1);
  return {
    divided: [n, c, h / b, b, w / b, b],
    perm: call.string("mode", "DCR") === "CRD" ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4],
    dims: [n, c * b * b, h / b, w / b],
  };
}
