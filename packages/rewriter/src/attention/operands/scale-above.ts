import type { NodeProto } from "@favor/onnx";
import { madeLast } from "@favor/onnx/graph";
import { countSteps, type AttentionContext } from "../context.ts";
import { movingOperators, allProducts } from "@favor/onnx/semantics";

/**
 * The factor that the graph applies between the nearest weight product and the operand: scalar Mul and Div nodes, before
 * and after a rotary embedding. Factors above any other node (a normalisation) do not count.
 */
export function scaleAbove(context: AttentionContext, value: string): number {
  let scale = 1;
  let at = value;
  for (;;) {
    countSteps(context);
    const node = context.graph.producer(at);
    if (node === undefined || allProducts.has(node.opType)) return scale;
    const factor = scalarFactor(context, node);
    const next = factor?.input ?? passThrough(context, node) ?? beforeRotation(context, at);
    if (next === undefined) return scale;
    scale *= factor?.factor ?? 1;
    at = next;
  }
}

/** The scalar that a Mul or Div multiplies its data input by. */
function scalarFactor(context: AttentionContext, node: NodeProto): { input: string; factor: number } | undefined {
  if (node.opType !== "Mul" && node.opType !== "Div") return undefined;
  const [a, b] = node.input as [string, string];
  const [first, second] = [scalar(context, a), scalar(context, b)];
  if (second !== undefined && first === undefined) {
    return { input: a, factor: node.opType === "Mul" ? second : 1 / second };
  }
  return first !== undefined && second === undefined && node.opType === "Mul" ? { input: b, factor: first } : undefined;
}

function scalar(context: AttentionContext, value: string): number | undefined {
  const known = context.first.info.get(value)?.value;
  return known?.data.length === 1 ? known.data[0] : undefined;
}

const moving: ReadonlySet<string> = new Set(["Cast", "Expand", "Concat", "RotaryEmbedding", ...movingOperators]);

/** The one data input of a node that only moves elements, or adds a constant; undefined for any other node. */
function passThrough(context: AttentionContext, node: NodeProto): string | undefined {
  const data = node.input.filter((input) => context.dynamic.has(input));
  // Positions may be an input too.
  if (node.opType === "RotaryEmbedding") return node.input[0];
  if (moving.has(node.opType))
    return context.dynamic.has(node.input[0] ?? "") && data.length === 1 ? data[0] : undefined;
  return node.opType === "Add" && data.length === 1 ? data[0] : undefined;
}

/** Operators that rotary embeddings are written in. */
const rotating: ReadonlySet<string> = new Set([
  ..."Add Sub Mul Neg Cast Expand Concat ScatterND".split(" "),
  ...movingOperators,
]);
const longestRotation = 64;

/**
 * The value that a rotary embedding rotates, found from its result: the one value in which all paths up through products
 * with tables, negations, slices and sums meet. Undefined if they do not meet, or if one has a scalar factor of its own.
 */
function beforeRotation(context: AttentionContext, result: string): string | undefined {
  const { graph } = context;
  const open = new Set([result]);
  let hasTable = false;
  for (let step = 0; step < longestRotation; step++) {
    // The latest value first, so that all ways to a value are known before it is passed.
    const at = madeLast(graph, open);
    if (open.size === 1 && at !== result) return hasTable ? at : undefined;
    const node = graph.producer(at);
    if (node === undefined || !rotating.has(node.opType)) return undefined;
    open.delete(at);
    const data = node.input.filter((input) => context.dynamic.has(input) && !isTable(context, input));
    if (data.length < node.input.length && node.opType === "Mul") {
      if (node.input.some((input) => scalar(context, input) !== undefined)) return undefined;
      hasTable = true;
    }
    for (const input of data) open.add(input);
    if (open.size === 0) return undefined;
  }
  return undefined;
}

/** Whether a value is computed from sines or cosines of positions, and from nothing that is projected. */
function isTable({ graph, dynamic }: AttentionContext, value: string): boolean {
  let isPeriodic = false;
  const pending = [value];
  for (let step = 0; step < longestRotation; step++) {
    const at = pending.pop();
    if (at === undefined) return isPeriodic;
    const node = dynamic.has(at) ? graph.producer(at) : undefined;
    if (node === undefined) continue;
    if (node.opType === "Cos" || node.opType === "Sin") isPeriodic = true;
    else if (rotating.has(node.opType) || node.opType === "Where") pending.push(...node.input);
    else return false;
  }
  return false;
}
