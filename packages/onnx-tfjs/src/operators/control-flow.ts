import { DataType, type GraphProto } from "@favor/onnx";
import { tensorOf, type Tensor as HostTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs";
import { shown, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import { dimsOf, isDevice, type Value } from "../value.ts";

/** The branch that the condition takes; a condition on the device is read back. */
const conditional = (call: OperatorCall): readonly Value[] =>
  call.context.runBody(call.graph(call.scalar(0) === 0 ? "else_branch" : "then_branch"), []);

/** Values of one shape, joined along a new axis. */
function stacked(call: OperatorCall, parts: readonly Value[], axis: number): Value {
  const first = dimsOf(parts[0]!);
  if (parts.some((part) => !tf.util.arraysEqual([...dimsOf(part)], [...first]))) {
    call.fail(`its steps give values of different shapes, ${shown(first)} the first`);
  }
  if (parts.some(isDevice)) {
    return tf.stack(
      parts.map((part) => call.onDevice(part)),
      axis,
    );
  }
  return stackedOnHost(parts as readonly HostTensor[], axis);
}

function stackedOnHost(parts: readonly HostTensor[], axis: number): HostTensor {
  const { dims, dataType } = parts[0]!;
  const inner = tf.util.sizeFromShape(dims.slice(axis));
  const outer = tf.util.sizeFromShape(dims.slice(0, axis));
  const values = new Float64Array(outer * parts.length * inner);
  for (const [i, { data }] of parts.entries()) {
    for (let block = 0; block < outer; block++) {
      values.set(data.subarray(block * inner, (block + 1) * inner), (block * parts.length + i) * inner);
    }
  }
  return tensorOf(dataType, [...dims.slice(0, axis), parts.length, ...dims.slice(axis)], values);
}

/** What a loop without iterations collects: no rows, of the shape that the body declares. */
function nothingCollected(body: GraphProto, output: number): HostTensor {
  const type = body.output[output]?.type?.tensorType;
  const dims = [0, ...(type?.shape?.dim ?? []).map((dim) => dim.dimValue?.toNumber() ?? 0)];
  return tensorOf(type?.elemType || DataType.FLOAT, dims, []);
}

/**
 * The body maps (iteration, condition, state...) to (condition, state..., outputs...); outputs of all iterations are
 * stacked. A condition on the device is read back at each iteration.
 */
const loop = (call: OperatorCall): Value[] => {
  const body = call.graph("body");
  const trips = call.has(0) ? call.scalar(0) : Infinity;
  let condition: Value = call.optional(1) ?? tensorOf(DataType.BOOL, [], [1]);
  const stateCount = call.inputs.length - 2;
  let state: (Value | null)[] = call.inputs.slice(2);
  const collected: Value[][] = Array.from({ length: body.output.length - 1 - stateCount }, () => []);
  for (let iteration = 0; iteration < trips && call.onHost(condition).data[0] !== 0; iteration++) {
    const outputs = call.context.runBody(body, [tensorOf(DataType.INT64, [], [iteration]), condition, ...state]);
    condition = outputs[0]!;
    state = outputs.slice(1, 1 + stateCount);
    for (const [i, parts] of collected.entries()) parts.push(outputs[1 + stateCount + i]!);
  }
  return [
    ...state.map((value, i) => value ?? call.fail(`state ${i} is absent`)),
    ...collected.map((parts, i) =>
      parts.length === 0 ? nothingCollected(body, 1 + stateCount + i) : stacked(call, parts, 0),
    ),
  ];
};

/** The slices of a scanned input along `axis`, without it. */
function slicesOf(call: OperatorCall, value: Value, axis: number): tf.Tensor[] {
  const whole = call.onDevice(value);
  // One kernel, whose gradient is one stack; a slice each would be padded to the whole again.
  return whole.shape[axis] === 0 ? [] : tf.unstack(whole, axis);
}

/** The body maps (state..., slices...) to (state..., slices...), along an axis of the scanned inputs and outputs. */
const scan = (call: OperatorCall): Value[] => {
  if (call.opset < 9) throw call.unsupported("Scan before opset 9 has a batch axis, which does not run");
  const body = call.graph("body");
  const scannedCount = call.int("num_scan_inputs") ?? call.fail("num_scan_inputs is required");
  const stateCount = call.inputs.length - scannedCount;
  const outputCount = body.output.length - stateCount;
  const option = (name: string, length: number): number[] => call.ints(name) ?? Array<number>(length).fill(0);
  const inputAxes = option("scan_input_axes", scannedCount);
  const inputDirections = option("scan_input_directions", scannedCount);
  const outputAxes = option("scan_output_axes", outputCount);
  const outputDirections = option("scan_output_directions", outputCount);
  const scanned = Array.from({ length: scannedCount }, (_, i) => {
    const value = call.input(stateCount + i);
    const slices = slicesOf(call, value, call.axis(inputAxes[i]!, dimsOf(value).length));
    return inputDirections[i] === 0 ? slices : slices.toReversed();
  });
  const steps = scanned[0]?.length ?? call.fail("it has nothing to scan");
  if (scanned.some(({ length }) => length !== steps)) {
    call.fail(`its scanned inputs have the lengths ${shown(scanned.map(({ length }) => length))}`);
  }
  let state: (Value | null)[] = call.inputs.slice(0, stateCount);
  const collected: Value[][] = Array.from({ length: outputCount }, () => []);
  for (let step = 0; step < steps; step++) {
    const outputs = call.context.runBody(body, [...state, ...scanned.map((slices) => slices[step]!)]);
    state = outputs.slice(0, stateCount);
    for (const [i, parts] of collected.entries()) parts.push(outputs[stateCount + i]!);
  }
  return [
    ...state.map((value, i) => value ?? call.fail(`state ${i} is absent`)),
    ...collected.map((parts, i) => {
      if (parts.length === 0) return nothingCollected(body, stateCount + i);
      const axis = call.axis(outputAxes[i]!, dimsOf(parts[0]!).length + 1);
      return stacked(call, outputDirections[i] === 0 ? parts : parts.toReversed(), axis);
    }),
  ];
};

/** Operators with bodies. */
export const controlFlowOperators: OperatorTable = { If: conditional, Loop: loop, Scan: scan };
