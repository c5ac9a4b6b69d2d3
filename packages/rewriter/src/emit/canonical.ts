import { leastAdded, type AxisRole, type KeyMask, type Operand } from "../attention/site.ts";
import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";

/** Number of heads of an operand, and its dimension per head: needed if they are folded into other axes. */
export interface HeadShape {
  readonly heads: number;
  readonly dim: number;
}

type CanonicalAxis = "batch" | "head" | "length" | "dim";
export type CanonicalOrder = readonly [CanonicalAxis, CanonicalAxis, CanonicalAxis, CanonicalAxis];
/** [batch, heads, length, dim] */
export const rowsOfHeads: CanonicalOrder = ["batch", "head", "length", "dim"];
/** [batch, heads, dim, length] */
export const columnsOfHeads: CanonicalOrder = ["batch", "head", "dim", "length"];

/** Brings an operand to four axes in the wanted order. A missing head or batch axis becomes one of size 1. */
export function toCanonical(build: NodeBuilder, operand: Operand, order: CanonicalOrder, shape: HeadShape): string {
  const { value, roles } = operand;
  if (operand.groups !== undefined) return joinGroups(build, operand, operand.groups, order, shape);
  if (roles.includes("batch-head")) return unfoldHeads(build, operand, order, shape);
  if (roles.includes("head-dim")) return splitHiddenAxis(build, operand, order, shape);
  const named = nameOnes(roles);
  const present = order.filter((axis) => named.includes(axis));
  const squeezed = build.squeeze(
    value,
    named.flatMap((role, axis) => (role === "one" ? [axis] : [])),
  );
  const kept = named.filter((role) => role !== "one");
  const moved = build.transpose(
    squeezed,
    present.map((axis) => kept.indexOf(axis)),
  );
  return build.unsqueeze(
    moved,
    order.flatMap((axis, at) => (named.includes(axis) ? [] : [at])),
  );
}

/** Axes of size 1 stand in for the head and batch axes that an operand lacks, from the right. */
function nameOnes(roles: readonly AxisRole[]): AxisRole[] {
  const named = [...roles];
  for (const wanted of ["head", "batch"] as const) {
    const one = named.lastIndexOf("one");
    if (!named.includes(wanted) && one >= 0) named[one] = wanted;
  }
  return named;
}

/** Merges two axes of heads into one. Repeats what heads or groups share: a single axis cannot express sharing. */
function joinGroups(
  build: NodeBuilder,
  { value, roles }: Operand,
  [heads, groups]: readonly [number, number],
  order: CanonicalOrder,
  { dim }: HeadShape,
): string {
  const wanted: AxisRole[] = ["batch", "head", "group", order[2], order[3]];
  const kept: AxisRole[] = roles.filter((role) => role !== "one");
  const present = wanted.filter((role) => kept.includes(role));
  const squeezed = build.squeeze(
    value,
    roles.flatMap((role, axis) => (role === "one" ? [axis] : [])),
  );
  const spread = build.unsqueeze(
    build.transpose(
      squeezed,
      present.map((role) => kept.indexOf(role)),
    ),
    wanted.flatMap((role, at) => (kept.includes(role) ? [] : [at])),
  );
  const isShared = !kept.includes("head") || !kept.includes("group");
  const all = isShared ? build.op("Expand", [spread, build.integers([1, heads, groups, 1, 1])]) : spread;
  const tail = order[2] === "length" ? [-1, dim] : [dim, -1];
  return build.op("Reshape", [all, build.integers([0, heads * groups, ...tail])]);
}

/** [batch x heads, ...] to [batch, heads, ...]. */
function unfoldHeads(build: NodeBuilder, operand: Operand, order: CanonicalOrder, { heads, dim }: HeadShape): string {
  const { value, roles } = operand;
  const folded: AxisRole[] = ["batch-head", order[2], order[3]];
  const kept: AxisRole[] = roles.filter((role) => role !== "one");
  const rows = build.transpose(
    build.squeeze(
      value,
      roles.flatMap((role, axis) => (role === "one" ? [axis] : [])),
    ),
    folded.map((role) => kept.indexOf(role)),
  );
  const length = build.dimension(rows, order.indexOf("length") - 1);
  const head = build.integers([-1, heads]);
  const tail = order[2] === "length" ? [length, build.integers([dim])] : [build.integers([dim]), length];
  return build.op("Reshape", [rows, build.concat([head, ...tail], 0)]);
}

/** [batch, length, heads x dim] to four axes. */
function splitHiddenAxis(
  build: NodeBuilder,
  operand: Operand,
  order: CanonicalOrder,
  { heads, dim }: HeadShape,
): string {
  const { value, roles } = operand;
  const sequence = build.transpose(
    value,
    (["batch", "length", "head-dim"] as const).map((role) => roles.indexOf(role)),
  );
  const split = build.op("Reshape", [sequence, build.integers([0, 0, heads, dim])]);
  const axes: readonly CanonicalAxis[] = ["batch", "length", "head", "dim"];
  return build.transpose(
    split,
    order.map((axis) => axes.indexOf(axis)),
  );
}

/** Brings [batch, heads, length, dim] back to the layout of the graph's output, under the output's name. */
export function fromCanonical(build: NodeBuilder, value: string, output: Operand, shape: HeadShape): void {
  const { roles } = output;
  if (output.groups !== undefined) {
    const split = build.op("Reshape", [value, build.integers([0, ...output.groups, -1, shape.dim])]);
    const wanted: AxisRole[] = ["batch", "head", "group", "length", "dim"];
    const dropped = wanted.flatMap((role, at) => (roles.includes(role) ? [] : [at]));
    const kept = wanted.filter((role) => roles.includes(role));
    finish(build, build.squeeze(split, dropped), kept, output);
    return;
  }
  if (roles.includes("batch-head")) {
    const tail = [build.dimension(value, 2), build.integers([shape.dim])];
    const folded = build.op("Reshape", [value, build.concat([build.integers([-1]), ...tail], 0)]);
    finish(build, folded, ["batch-head", "length", "dim"], output);
    return;
  }
  if (roles.includes("head-dim")) {
    const sequence = build.transpose(value, [0, 2, 1, 3]);
    const merged = build.op("Reshape", [sequence, build.integers([0, 0, shape.heads * shape.dim])]);
    finish(build, merged, ["batch", "length", "head-dim"], output);
    return;
  }
  const named = nameOnes(roles);
  const dropped = rowsOfHeads.flatMap((axis, at) => (named.includes(axis) ? [] : [at]));
  const kept: AxisRole[] = rowsOfHeads.filter((axis) => named.includes(axis));
  finish(build, build.squeeze(value, dropped), kept, { ...output, roles: named });
}

/** The last step, which gives the output its name: a transposition, or only an Identity. */
function finish(build: NodeBuilder, value: string, have: readonly AxisRole[], output: Operand): void {
  const wanted: AxisRole[] = output.roles.filter((role) => role !== "one");
  const perm = wanted.map((role) => have.indexOf(role));
  const ones = output.roles.flatMap((role, axis) => (role === "one" ? [axis] : []));
  const isIdentity = perm.every((from, to) => from === to);
  if (ones.length > 0) {
    const spread = build.unsqueeze(build.transpose(value, perm), ones);
    build.op("Identity", [spread], {}, { output: output.value });
  } else if (isIdentity) {
    build.op("Identity", [value], {}, { output: output.value });
  } else {
    build.op("Transpose", [value], { perm: { ints: perm } }, { output: output.value });
  }
}

/** Which keys count, as booleans [batch, 1, 1, keys]. */
export function keepKeys(build: NodeBuilder, mask: KeyMask): string {
  const { roles, rule } = mask;
  const squeezed = build.squeeze(
    mask.value,
    roles.flatMap((role, axis) => (role === "one" ? [axis] : [])),
  );
  const spread = build.unsqueeze(squeezed, roles.includes("batch") ? [1, 2] : [0, 1, 2]);
  if (rule === "additive") {
    const float = mask.dataType === DataType.FLOAT ? spread : build.cast(spread, DataType.FLOAT);
    return build.op("Greater", [float, build.scalar(leastAdded)]);
  }
  const boolean = mask.dataType === DataType.BOOL ? spread : build.cast(spread, DataType.BOOL);
  return rule === "zero keeps" ? build.op("Not", [boolean]) : boolean;
}
