import { DataType, type GraphProto, type NodeProto } from "../model/proto.ts";
import { attribute, intAttribute, intsAttribute } from "./node.ts";
import { ShapeConflict, type ShapeInfo } from "./shape-info.ts";

type Shapes = (ShapeInfo | undefined)[];
/** Shapes of a body's outputs, given those of its inputs. */
type InferBody = (body: GraphProto, inputs: readonly (ShapeInfo | undefined)[]) => Shapes;

/** Shapes of the outputs of an If, Loop or Scan; undefined if they do not follow from what is known. */
export function inferControlFlow(
  node: NodeProto,
  inputs: readonly (ShapeInfo | undefined)[],
  infer: InferBody,
): Shapes | undefined {
  if (node.opType === "If") return inferIf(node, inputs[0], infer);
  const body = attribute(node, "body")?.g;
  if (!body) return undefined;
  return node.opType === "Loop" ? inferLoop(body, inputs, infer) : inferScan(node, body, inputs, infer);
}

/** If the condition is unknown, both branches must agree. A branch that is not taken need not be able to run. */
function inferIf(node: NodeProto, condition: ShapeInfo | undefined, infer: InferBody): Shapes | undefined {
  const known = condition?.value?.data[0];
  const branch = (name: string, taken: boolean): Shapes | undefined => {
    const body = attribute(node, name)?.g;
    try {
      return body ? infer(body, []) : undefined;
    } catch (error) {
      if (!taken && error instanceof ShapeConflict) return undefined;
      throw error;
    }
  };
  const yes = branch("then_branch", known === undefined || known !== 0);
  const no = branch("else_branch", known === undefined || known === 0);
  if (known !== undefined) return known !== 0 ? yes : no;
  return yes?.map((shape, i) =>
    shape && shape.dims.join() === no?.[i]?.dims.join() ? withoutValue(shape) : undefined,
  );
}

const withoutValue = (shape: ShapeInfo | undefined): ShapeInfo | undefined =>
  shape && { dims: shape.dims, dataType: shape.dataType };

/** Shapes of the states, as far as they stay the same from one iteration to the next. */
function settleStates(
  states: readonly (ShapeInfo | undefined)[],
  first: number,
  run: (states: Shapes) => Shapes,
): { states: Shapes; outputs: Shapes } {
  let settled: Shapes = states.map(withoutValue);
  // Each round that goes on makes one state more unknown.
  for (let round = 0; round <= states.length; round++) {
    const outputs = run(settled);
    const kept = settled.map((shape, i) =>
      shape && outputs[first + i]?.dims.join() === shape.dims.join() ? shape : undefined,
    );
    if (kept.every((shape, i) => shape === settled[i])) return { states: kept, outputs };
    settled = kept;
  }
  return { states: settled, outputs: [] };
}

/** Body: (iteration, condition, states...) to (condition, states..., one row of each collected output). */
function inferLoop(body: GraphProto, inputs: readonly (ShapeInfo | undefined)[], infer: InferBody): Shapes {
  const iteration: ShapeInfo = { dims: [], dataType: DataType.INT64 };
  const condition: ShapeInfo = { dims: [], dataType: DataType.BOOL };
  const { states, outputs } = settleStates(inputs.slice(2), 1, (given) =>
    infer(body, [iteration, condition, ...given]),
  );
  const trips = inputs[0]?.value?.data[0];
  const collected = outputs.slice(1 + states.length).map((row) => {
    return row && trips !== undefined ? { dims: [trips, ...row.dims], dataType: row.dataType } : undefined;
  });
  return [...states, ...collected];
}

/** Body: (states..., slices...) to (states..., slices...), along an axis of the scanned tensors. */
function inferScan(
  node: NodeProto,
  body: GraphProto,
  inputs: readonly (ShapeInfo | undefined)[],
  infer: InferBody,
): Shapes | undefined {
  const scanned = intAttribute(node, "num_scan_inputs", 0);
  const stateCount = inputs.length - scanned;
  if (scanned < 1 || stateCount < 0) return undefined;
  const inputAxes = intsAttribute(node, "scan_input_axes") ?? [];
  const outputAxes = intsAttribute(node, "scan_output_axes") ?? [];
  let steps: number | undefined;
  const slices = inputs.slice(stateCount).map((shape, i) => {
    if (!shape) return undefined;
    const axis = positive(inputAxes[i] ?? 0, shape.dims.length);
    steps = shape.dims[axis];
    return { dims: shape.dims.filter((_, at) => at !== axis), dataType: shape.dataType };
  });
  const { states, outputs } = settleStates(inputs.slice(0, stateCount), 0, (given) =>
    infer(body, [...given, ...slices]),
  );
  const collected = outputs.slice(stateCount).map((slice, i) => {
    if (!slice || steps === undefined) return undefined;
    const dims = [...slice.dims];
    dims.splice(positive(outputAxes[i] ?? 0, dims.length + 1), 0, steps);
    return { dims, dataType: slice.dataType };
  });
  return [...states, ...collected];
}

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);
