import { markInexact, shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { axisView, computed } from "../positions.ts";
import { elementCount, type Tensor, type TensorData } from "../tensor.ts";
import { elementPositions, slicePositions } from "./gathering.ts";

type Combine = (present: number, update: number) => number;

const combinations: Readonly<Record<string, Combine>> = {
  none: (_, update) => update,
  add: (present, update) => present + update,
  mul: (present, update) => present * update,
  max: Math.max,
  min: Math.min,
};

function combination(call: OperatorCall): Combine {
  const name = call.string("reduction", "none");
  const found = Object.hasOwn(combinations, name) ? combinations[name] : undefined;
  if (found === undefined) throw call.unsupported(`reduction ${name} is not known`);
  return found;
}

function copyOf(call: OperatorCall, source: Tensor): TensorData {
  const data = call.data(source.dims, source.dataType);
  data.set(source.data);
  return data;
}

function finished(call: OperatorCall, source: Tensor, data: TensorData): Tensor[] {
  // The other reductions choose values, so that a sentinel among them stays one.
  if (["add", "mul"].includes(call.string("reduction", "none"))) markInexact(source.dataType, data);
  return [computed(source.dims, source.dataType, data)];
}

/** output[..., indices[i], ...] = updates[i], combined as `reduction` says (opset 16). */
const scatterElements = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const indices = call.input(1);
  const updates = call.input(2);
  if (updates.data.length !== indices.data.length) call.fail("updates and indices differ in shape");
  const combine = combination(call);
  const positions = elementPositions(call, source.dims, indices, call.axis(call.int("axis", 0), source.dims.length));
  const data = copyOf(call, source);
  for (let i = 0; i < positions.length; i++) data[positions[i]!] = combine(data[positions[i]!]!, updates.data[i]!);
  return finished(call, source, data);
};

/** output[indices[i]] = updates[i] for the index tuples in the last dimension of `indices`. */
const scatterNd = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const updates = call.input(2);
  const combine = combination(call);
  const { starts, inner } = slicePositions(call, source.dims, call.input(1));
  if (updates.data.length !== starts.length * inner) {
    call.fail(`updates of shape ${shown(updates.dims)} do not fit the indices`);
  }
  const data = copyOf(call, source);
  for (let i = 0; i < starts.length; i++) {
    for (let j = 0; j < inner; j++) {
      const at = starts[i]! + j;
      data[at] = combine(data[at]!, updates.data[i * inner + j]!);
    }
  }
  return finished(call, source, data);
};

/** Opset 24: writes `update` into a cache along `axis`, at write_indices[batch]; "circular" wraps around its end. */
const tensorScatter = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const update = call.input(1);
  const writes = call.optional(2);
  const axis = call.axis(call.int("axis", -2), source.dims.length);
  const circular = call.string("mode", "linear") === "circular";
  const { outer, length, inner } = axisView(source.dims, axis);
  const rows = update.dims[axis] ?? call.fail("the update lacks the axis");
  const blocksPerBatch = elementCount(source.dims.slice(1, axis));
  if (update.data.length !== outer * rows * inner) call.fail(`an update of shape ${shown(update.dims)} does not fit`);
  const data = copyOf(call, source);
  for (let block = 0; block < outer; block++) {
    const first = writes?.data[Math.floor(block / blocksPerBatch)] ?? 0;
    for (let row = 0; row < rows; row++) {
      const at = circular ? (first + row) % length : first + row;
      if (!(at >= 0 && at < length)) call.fail(`row ${at} is out of bounds for ${length}`);
      const start = (block * rows + row) * inner;
      data.set(update.data.subarray(start, start + inner), (block * length + at) * inner);
    }
  }
  return [{ dims: source.dims, dataType: source.dataType, data }];
};

/** Operators that write into a copy of their input. */
export const scatteringOperators: OperatorTable = {
  Scatter: scatterElements,
  ScatterElements: scatterElements,
  ScatterND: scatterNd,
  TensorScatter: tensorScatter,
};
