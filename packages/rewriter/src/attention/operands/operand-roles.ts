import { hasHeadsSlowest } from "./batch-order.ts";
import { dimsOf, type AttentionContext } from "../context.ts";
import { type GraphProbe } from "@favor/onnx/graph";
import { productAxes, type Factor, type Product } from "../product.ts";
import type { AxisRole, Operand } from "../site.ts";

/** Which labels of a factor are its position and its feature axis; the others are batch and heads. */
export interface OperandLabels {
  readonly length: string;
  readonly dim: string;
}

/** The size of the batch in the first and second probe: the size of the first axis of the first input that has axes. */
export function batchSizes(context: AttentionContext): { first: number; second: number | undefined } {
  return { first: batchSizeOf(context, context.first), second: context.second && batchSizeOf(context, context.second) };
}

function batchSizeOf({ graph }: AttentionContext, { info }: GraphProbe): number {
  for (const input of graph.root.inputs) {
    const dims = info.get(input.name)?.dims;
    if (dims !== undefined && dims.length >= 2) return dims[0]!;
  }
  return 1;
}

/** Two axes of heads, the slower first: their labels in one product, and their sizes. */
export interface GroupedHeads {
  readonly labels: readonly [string, string];
  readonly sizes: readonly [number, number];
}

/**
 * The two axes of heads in one product of an attention; undefined unless there are two.
 *
 * @param order the product's labels in the order of the logits or probabilities, by which heads are numbered
 */
export function groupedHeads(context: AttentionContext, product: Product, order: string): GroupedHeads | undefined {
  const { value, labels } = product.output;
  const dims = dimsOf(context, value);
  if (dims === undefined) return undefined;
  const heads: number[] = [];
  let hasBatch = false;
  for (const [axis, label] of [...labels].entries()) {
    if (!productAxes(product)!.batch.includes(label)) continue;
    const role = batchRole(context, product.output, axis, hasBatch);
    hasBatch ||= role === "batch" || role === "batch-head";
    if (role === "head") heads.push(axis);
  }
  const [head, group] = heads.toSorted((a, b) => order.indexOf(labels[a]!) - order.indexOf(labels[b]!));
  if (head === undefined || group === undefined || heads.length > 2) return undefined;
  return { labels: [labels[head]!, labels[group]!], sizes: [dims[head]!, dims[group]!] };
}

/**
 * Reads the axes of a product's factor; undefined if a batch axis is neither batch nor heads.
 *
 * @param grouped the product's axes of heads, if it has two
 */
export function operandOf(
  context: AttentionContext,
  factor: Factor,
  labels: OperandLabels,
  grouped?: GroupedHeads,
): Operand | undefined {
  const dims = dimsOf(context, factor.value);
  if (dims === undefined) return undefined;
  const roles: AxisRole[] = [];
  let hasBatch = false;
  for (let axis = 0; axis < dims.length; axis++) {
    const label = factor.labels[axis]!;
    if (label === labels.dim) roles.push("dim");
    else if (label === labels.length) roles.push("length");
    else if (grouped?.labels.includes(label)) {
      const role = label === grouped.labels[0] ? "head" : "group";
      roles.push(dims[axis] === 1 ? "one" : role);
    } else {
      const role = batchRole(context, factor, axis, hasBatch);
      if (role === undefined) return undefined;
      hasBatch ||= role === "batch" || role === "batch-head";
      roles.push(role);
    }
  }
  // Time or windows folded into the batch, with heads of their own: one batch.
  if (roles.includes("head")) roles.forEach((role, axis) => role === "batch-head" && (roles[axis] = "batch"));
  const unique = roles.filter((role) => role !== "one");
  return new Set(unique).size === unique.length
    ? { value: factor.value, roles, ...(grouped && { groups: grouped.sizes }) }
    : undefined;
}

function batchRole(context: AttentionContext, factor: Factor, axis: number, hasBatch: boolean): AxisRole | undefined {
  const size = dimsOf(context, factor.value)![axis]!;
  const batch = batchSizes(context);
  const second = context.second?.info.get(factor.value)?.dims[axis];
  if (second !== undefined && second !== size) {
    const heads = foldedHeads(context, size, second);
    // Any other varying axis is a batch too: its entries attend independently.
    if (heads === undefined || heads === 1) return "batch";
    // With the heads slowest, every entry stands alone: one feature map serves all, for any batch.
    return hasHeadsSlowest(context, factor.value, axis, size / heads) ? "batch" : "batch-head";
  }
  const batchIsFixed = batch.second === undefined || batch.second === batch.first;
  // With a fixed batch the sizes alone do not tell; exporters put the batch first.
  if (batchIsFixed && !hasBatch && axis === 0) {
    const batchAxes = factor.labels.length - 2;
    if (size === batch.first && (batchAxes > 1 || size > 1 || batch.first === 1)) return "batch";
    if (batchAxes === 1 && size % batch.first === 0) return "batch-head";
  }
  return size === 1 ? "one" : "head";
}

/**
 * How many heads are folded into an axis of these sizes in the two probes: its ratio to the batch, or to another free
 * dimension of an input.
 */
function foldedHeads(context: AttentionContext, first: number, second: number): number | undefined {
  const batch = batchSizes(context);
  const free: [number, number][] = [[batch.first, batch.second ?? batch.first]];
  for (const { name } of context.graph.root.inputs) {
    const dims = context.second?.info.get(name)?.dims ?? [];
    dims.forEach((dim, axis) => free.push([dimsOf(context, name)![axis]!, dim]));
  }
  for (const [a, b] of free) if (a !== b && Number.isInteger(first / a) && first / a === second / b) return first / a;
  return undefined;
}

/** Size of an operand's batch at a probe, without heads; the model's batch if there is no operand. */
export function batchOf(context: AttentionContext, operand: Operand | undefined, probe: GraphProbe): number {
  const dims = operand && probe.info.get(operand.value)?.dims;
  if (operand === undefined || dims === undefined) return batchSizeOf(context, probe);
  const folded = operand.roles.indexOf("batch-head");
  if (folded >= 0) return dims[folded]! / headsOf(context, operand);
  const batch = operand.roles.indexOf("batch");
  return batch >= 0 ? dims[batch]! : 1;
}

/** Heads of an operand: its head axis, or what is folded into the batch; 1 if it has neither. */
export function headsOf(context: AttentionContext, operand: Operand): number {
  const dims = dimsOf(context, operand.value)!;
  if (operand.groups !== undefined) return operand.groups[0] * operand.groups[1];
  const head = operand.roles.indexOf("head");
  if (head >= 0) return dims[head]!;
  const folded = operand.roles.indexOf("batch-head");
  if (folded < 0) return 1;
  const second = context.second?.info.get(operand.value)?.dims[folded];
  const heads =
    second !== undefined && second !== dims[folded] ? foldedHeads(context, dims[folded]!, second) : undefined;
  return heads ?? dims[folded]! / batchSizes(context).first;
}

export function sizeOf(context: AttentionContext, operand: Operand, role: AxisRole): number {
  return dimsOf(context, operand.value)![operand.roles.indexOf(role)]!;
}
