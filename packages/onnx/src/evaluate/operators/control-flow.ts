import { DataType, type GraphProto } from "../../model/proto.ts";
import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { axisView } from "../positions.ts";
import { tensorOf, type Tensor } from "../tensor.ts";
import { concatenate, sliceAxis } from "./layout.ts";
import { reshaped } from "./shape.ts";

/** Cost of entering a body, in additions per node of the body, before any node runs. */
const costOfBody = 64;

/** The branch of an If node that its condition takes. */
function chosenBranch(call: OperatorCall): GraphProto {
  return call.graph(call.scalar(0) !== 0 ? "then_branch" : "else_branch");
}

const conditional = (call: OperatorCall): Tensor[] => call.context.runBody(chosenBranch(call), []);

/** Keeps one row of an output, and counts it: a row may be a constant of the body, which no node computes. */
function collect(call: OperatorCall, rows: Tensor[], row: Tensor): void {
  rows.push(call.charge(row));
}

/** Tensors of one shape, joined along a new axis. */
function stacked(call: OperatorCall, parts: readonly Tensor[], axis: number): Tensor {
  const withAxis = parts.map((part) =>
    reshaped(call, part, [...part.dims.slice(0, axis), 1, ...part.dims.slice(axis)]),
  );
  return concatenate(call, withAxis, axis);
}

/**
 * The body maps (iteration, condition, state...) to (condition, state..., outputs...); outputs of all iterations are
 * stacked. The limits of the evaluation bound the number of iterations.
 */
const loop = (call: OperatorCall): Tensor[] => {
  const body = call.graph("body");
  const trips = call.optional(0) === null ? Infinity : call.scalar(0);
  let condition = call.optional(1) ?? tensorOf(DataType.BOOL, [], [1]);
  const stateCount = call.inputs.length - 2;
  let state: (Tensor | null)[] = call.inputs.slice(2);
  const collected: Tensor[][] = Array.from({ length: body.output.length - 1 - stateCount }, () => []);
  for (let iteration = 0; iteration < trips && condition.data[0] !== 0; iteration++) {
    call.operations(costOfBody * (1 + body.node.length));
    const outputs = call.context.runBody(body, [tensorOf(DataType.INT64, [], [iteration]), condition, ...state]);
    condition = outputs[0]!;
    state = outputs.slice(1, 1 + stateCount);
    for (const [i, parts] of collected.entries()) collect(call, parts, outputs[1 + stateCount + i]!);
  }
  const finalState = state.map((tensor, i) => tensor ?? call.fail(`state ${i} is absent`));
  return [
    ...finalState,
    ...collected.map((parts, i) =>
      parts.length === 0 ? nothingCollected(call, body, 1 + stateCount + i) : stacked(call, parts, 0),
    ),
  ];
};

/** The collected output of a loop without iterations: no rows, of the shape that the body declares. */
function nothingCollected(call: OperatorCall, body: GraphProto, output: number): Tensor {
  const type = body.output[output]?.type?.tensorType;
  const dims = [0, ...(type?.shape?.dim ?? []).map((dim) => dim.dimValue?.toNumber() ?? 0)];
  const dataType = type?.elemType ?? DataType.FLOAT;
  return { dims, dataType, data: call.data(dims, dataType) };
}

/** The body maps (state..., slices...) to (state..., slices...), along an axis of the scanned inputs and outputs. */
const scan = (call: OperatorCall): Tensor[] => {
  if (call.opset < 9) throw call.unsupported("Scan before opset 9 has a batch axis, which is not evaluated");
  const body = call.graph("body");
  const scannedCount = call.int("num_scan_inputs") ?? call.fail("num_scan_inputs is required");
  const stateCount = call.inputs.length - scannedCount;
  const outputCount = body.output.length - stateCount;
  const option = (name: string, length: number) => call.ints(name) ?? Array.from({ length }, () => 0);
  const inputAxes = option("scan_input_axes", scannedCount);
  const inputDirections = option("scan_input_directions", scannedCount);
  const outputAxes = option("scan_output_axes", outputCount);
  const outputDirections = option("scan_output_directions", outputCount);
  const scanned = Array.from({ length: scannedCount }, (_, i) => {
    const tensor = call.input(stateCount + i);
    const axis = call.axis(inputAxes[i]!, tensor.dims.length);
    return { tensor, axis, length: axisView(tensor.dims, axis).length };
  });
  const steps = scanned[0]?.length ?? call.fail("it has nothing to scan");
  if (scanned.some(({ length }) => length !== steps)) {
    call.fail(`its scanned inputs have the lengths ${shown(scanned.map(({ length }) => length))}`);
  }
  let state: (Tensor | null)[] = call.inputs.slice(0, stateCount);
  const collected: Tensor[][] = Array.from({ length: outputCount }, () => []);
  for (let step = 0; step < steps; step++) {
    call.operations(costOfBody * (1 + body.node.length));
    const slices = scanned.map(({ tensor, axis }, i) => {
      const at = inputDirections[i] === 0 ? step : steps - 1 - step;
      const slice = sliceAxis(call, tensor, axis, at, at + 1);
      return reshaped(
        call,
        slice,
        slice.dims.filter((_, other) => other !== axis),
      );
    });
    const outputs = call.context.runBody(body, [...state, ...slices]);
    state = outputs.slice(0, stateCount);
    for (const [i, parts] of collected.entries()) collect(call, parts, outputs[stateCount + i]!);
  }
  return [
    ...state.map((tensor, i) => tensor ?? call.fail(`state ${i} is absent`)),
    ...collected.map((parts, i) => {
      const first = parts[0];
      if (first === undefined) return nothingCollected(call, body, stateCount + i);
      const axis = call.axis(outputAxes[i]!, first.dims.length + 1);
      return stacked(call, outputDirections[i] === 0 ? parts : parts.toReversed(), axis);
    }),
  ];
};

/** Operators with bodies. */
export const controlFlowOperators: OperatorTable = { If: conditional, Loop: loop, Scan: scan };
