import { elementCount } from "@favor/onnx/evaluate";
import type { NodeProto } from "@favor/onnx";

/** One dimension of a value, or a number found with it, at each probe. */
export type Sizes = readonly number[];

/**
 * Where the rows of an attention, one per query, lie in a value: along one axis, of size outer * size * inner. Position
 * (o * size + r) * inner + i of the axis belongs to row r. `outer` and `inner` are 1 unless a Reshape merged axes.
 */
export interface Rows {
  readonly axis: number;
  readonly size: Sizes;
  readonly outer: Sizes;
  readonly inner: Sizes;
  /** The slices between the queries and this axis, the innermost last: row r of the query is row start + step * r here. */
  readonly slices: readonly RowSlice[];
}

/** A Slice along the axis of the rows. */
export interface RowSlice {
  readonly node: NodeProto;
  /** Place of the axis among the bounds. */
  readonly entry: number;
  /** Whether the start counts from the end of the axis. */
  readonly fromEnd: boolean;
  /** The axis of the value that is sliced. */
  readonly axis: number;
}

/** Rows that have an axis of their own. */
export function wholeAxis(axis: number, size: Sizes): Rows {
  const ones = size.map(() => 1);
  return { axis, size, outer: ones, inner: ones, slices: [] };
}

/** The same rows along another axis of the same size. */
export const onAxis = (rows: Rows, axis: number): Rows => ({ ...rows, axis });

/** Whether the axis holds the rows and nothing else. */
export function isPlain({ outer, inner }: Rows): boolean {
  return [...outer, ...inner].every((count) => count === 1);
}

/** Tells two places of rows apart. */
export function keyOfRows({ axis, outer, inner, slices }: Rows): string {
  return [axis, outer.join(), inner.join(), ...slices.map(({ node, entry }) => `${node.output[0]}:${entry}`)].join(" ");
}

/**
 * The place of the rows after the elements took another shape: the axis before which as many elements lie.
 *
 * @param from the shape in which the place is known, at each probe
 * @returns undefined if no single axis of `to` holds the rows
 */
export function throughReshape(
  rows: Rows,
  from: readonly (readonly number[])[],
  to: readonly (readonly number[])[],
): Rows | undefined {
  let found: number | undefined;
  const [outer, inner]: [number[], number[]] = [[], []];
  for (const [probe, size] of rows.size.entries()) {
    const before = elementCount(from[probe]!.slice(0, rows.axis)) * rows.outer[probe]!;
    const dims = to[probe]!;
    let prefix = 1;
    const axis = dims.findIndex((dim) => {
      if (prefix * dim >= before * size && prefix <= before) return true;
      prefix *= dim;
      return false;
    });
    if (axis < 0 || (found !== undefined && axis !== found)) return undefined;
    found = axis;
    const outside = before / prefix;
    const inside = dims[axis]! / (outside * size);
    if (!Number.isInteger(outside) || !Number.isInteger(inside) || inside < 1) return undefined;
    outer.push(outside);
    inner.push(inside);
  }
  return found === undefined ? undefined : { ...rows, axis: found, outer, inner };
}
