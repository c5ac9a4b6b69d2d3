import { tensorOf, type Tensor as HostTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import { shown, type OperatorCall } from "../operator-call.ts";
import { dimsOf, isDevice, type Value } from "../value.ts";
import { slicesAlong } from "./axis.ts";
import { nothingCollected, stacked } from "./collected.ts";
import { independentSteps, type ScanSteps } from "./independent-steps.ts";

/** The slices of a scanned input along `axis`, without it; integers and masks stay on the host. */
function slicesOf(value: Value, axis: number): Value[] {
  // One kernel, whose gradient is one stack; a slice each would be padded to the whole again.
  return isDevice(value) ? slicesAlong(value, axis) : hostSlices(value, axis);
}

function hostSlices({ dims, data, dataType }: HostTensor, axis: number): HostTensor[] {
  const inner = tf.util.sizeFromShape(dims.slice(axis + 1));
  const outer = tf.util.sizeFromShape(dims.slice(0, axis));
  const length = dims[axis]!;
  return Array.from({ length }, (_, at) => {
    const values = Array.from({ length: outer * inner }, (__, i) => {
      return data[(Math.floor(i / inner) * length + at) * inner + (i % inner)]!;
    });
    return tensorOf(dataType, [...dims.slice(0, axis), ...dims.slice(axis + 1)], values);
  });
}

/** The body maps (state..., slices...) to (state..., slices...), along an axis of the scanned inputs and outputs. */
export const scan = (call: OperatorCall): Value[] => {
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
    const slices = slicesOf(value, call.axis(inputAxes[i]!, dimsOf(value).length));
    return inputDirections[i] === 0 ? slices : slices.toReversed();
  });
  const steps = scanned[0]?.length ?? call.fail("it has nothing to scan");
  if (scanned.some(({ length }) => length !== steps)) {
    call.fail(`its scanned inputs have the lengths ${shown(scanned.map(({ length }) => length))}`);
  }
  const isReversed = (output: number): boolean => outputDirections[output] !== 0;
  const given: ScanSteps = {
    body,
    slices: Array.from({ length: steps }, (_, step) => scanned.map((slices) => slices[step]!)),
    join(parts, output) {
      const axis = call.axis(outputAxes[output]!, dimsOf(parts[0]!).length + 1);
      return stacked(call, isReversed(output) ? parts.toReversed() : parts, axis);
    },
    split(joined, output) {
      const parts = unstacked(joined, call.axis(outputAxes[output]!, joined.rank));
      return isReversed(output) ? parts.toReversed() : parts;
    },
  };
  if (stateCount === 0 && steps > 0) return independentSteps(call, given);
  const { state, collected } = carriedSteps(call, given, call.inputs.slice(0, stateCount));
  return [
    ...state,
    ...collected.map((parts, i) =>
      parts.length === 0 ? nothingCollected(body, stateCount + i) : given.join(parts, i),
    ),
  ];
};

/** The slices of x along an axis, outside of a tape. Not tf.unstack, which copies all of x for each on wasm. */
function unstacked(x: tf.Tensor, axis: number): tf.Tensor[] {
  const count = x.shape[axis]!;
  const before = tf.util.sizeFromShape(x.shape.slice(0, axis));
  const after = tf.util.sizeFromShape(x.shape.slice(axis + 1));
  const rows = tf.reshape(x, [before, count, after]);
  const shape = [...x.shape.slice(0, axis), ...x.shape.slice(axis + 1)];
  return Array.from({ length: count }, (_, i) => tf.reshape(tf.slice(rows, [0, i, 0], [before, 1, after]), shape));
}

/** Steps that hand a state on; a gradient tape keeps all that they compute. */
function carriedSteps(
  call: OperatorCall,
  { body, slices }: ScanSteps,
  initial: readonly (Value | null)[],
): { readonly state: Value[]; readonly collected: Value[][] } {
  let state = initial;
  const collected: Value[][] = Array.from({ length: body.output.length - initial.length }, () => []);
  for (const given of slices) {
    const outputs = call.context.runBody(body, [...state, ...given]);
    state = outputs.slice(0, initial.length);
    for (const [i, parts] of collected.entries()) parts.push(outputs[initial.length + i]!);
  }
  return { state: state.map((value, i) => value ?? call.fail(`state ${i} is absent`)), collected };
}
