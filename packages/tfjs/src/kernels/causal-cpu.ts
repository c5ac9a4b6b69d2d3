import type * as tf from "@tensorflow/tfjs-core";
import { causalCall, fillGates } from "./causal-inputs.ts";

/** Causal linear attention on typed arrays: the reference for every other kernel. */
export const causalOnCpu: tf.KernelFunc = ({ inputs, backend, attrs }) => {
  const storage = backend as tf.KernelBackend;
  const call = causalCall(inputs, attrs);
  const { groups, length, features, width, reverse } = call;
  const [q, k, v, reference] = [call.q, call.k, call.v, call.reference].map(
    ({ dataId }) => storage.readSync(dataId) as Float32Array,
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const y = new Float32Array(groups * length * width);
  const gates = new Float32Array(length);
  for (let group = 0; group < groups; group++) {
    const [rows, end] = [group * length, (group + 1) * length];
    fillGates(gates, reference.subarray(rows, end), reverse);
    const part = (x: Float32Array, columns: number): Float32Array => x.subarray(rows * columns, end * columns);
    attend(part(y, width), part(q, features), part(k, features), part(v, width), gates, features, width, reverse);
  }
  const shape = [groups, length, width];
  return { dataId: storage.write(y, shape, "float32"), shape, dtype: "float32" };
};

/** One group: S = gate S + k v^T, y = S^T q, row by row. */
function attend(
  y: Float32Array,
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  gates: Float32Array,
  features: number,
  width: number,
  reverse: boolean,
): void {
  const state = new Float32Array(features * width);
  for (let t = 0; t < gates.length; t++) {
    const row = reverse ? gates.length - 1 - t : t;
    const gate = gates[t]!;
    for (let m = 0; m < features; m++) {
      const [query, key] = [q[row * features + m]!, k[row * features + m]!];
      for (let c = 0; c < width; c++) {
        const sum = gate * state[m * width + c]! + key * v[row * width + c]!;
        state[m * width + c] = sum;
        y[row * width + c]! += query * sum;
      }
    }
  }
}
