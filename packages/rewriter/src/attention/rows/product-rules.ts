import { elementCount } from "@favor/onnx/evaluate";
import { parseEinsum, stringAttribute } from "@favor/onnx/graph";
import { asProduct } from "../product.ts";
import {
  isOne,
  isSame,
  outputDims,
  whole,
  type Dims,
  type RowCall,
  type RowRule,
  type RowSources,
} from "./row-call.ts";
import { onAxis, type Rows } from "./rows.ts";

/** MatMul and its like, by the labels of their axes. */
export const multiplied: RowRule = (call) => {
  const { node, rows } = call;
  const product = asProduct(node, (value) => call.dims(value)?.[0]!.length);
  const out = outputDims(call);
  if (product === undefined || out === undefined) return undefined;
  const factors = new Map([product.left, product.right].map(({ value, labels }) => [value, labels]));
  return labelled(call, out, product.output.labels[rows.axis]!, (value) => factors.get(value));
};

export const summed: RowRule = (call) => {
  const { node, rows } = call;
  const out = outputDims(call);
  const ranks = node.input.map((value) => call.dims(value)?.[0]!.length);
  const equation = parseEinsum(stringAttribute(node, "equation") ?? "", ranks);
  if (equation === undefined || out === undefined) return undefined;
  const label = equation.output[rows.axis]!;
  // One value may be several operands.
  const inputs = equation.inputs.map((labels, index) => labelSource(call, out, label, node.input[index]!, labels));
  return inputs.includes("unknown") ? undefined : { inputs: inputs as (Rows | undefined)[] };
};

function labelled(
  call: RowCall,
  out: Dims,
  label: string,
  labelsOf: (value: string) => string | undefined,
): RowSources | undefined {
  const inputs = call.node.input.map((value): Rows | undefined | "unknown" => {
    const labels = labelsOf(value);
    if (labels !== undefined) return labelSource(call, out, label, value, labels);
    // Scales and zero points of quantised products: one number each.
    const dims = value === "" ? [] : call.dims(value);
    return dims?.every((each) => elementCount(each) === 1) ? whole : "unknown";
  });
  return inputs.includes("unknown") ? undefined : { inputs: inputs as (Rows | undefined)[] };
}

function labelSource(
  call: RowCall,
  out: Dims,
  label: string,
  value: string,
  labels: string,
): Rows | undefined | "unknown" {
  const axis = labels.indexOf(label);
  const dims = call.dims(value);
  if (dims === undefined) return "unknown";
  if (axis < 0 || isOne(dims, axis)) return whole;
  return isSame(dims, axis, out, call.rows.axis) ? onAxis(call.rows, axis) : "unknown";
}
