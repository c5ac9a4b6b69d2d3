import type * as tf from "@tensorflow/tfjs-core";
import { causalCall } from "./causal-inputs.ts";
import { runProgram } from "./webgpu-program.ts";
import type { WebGpuBackend } from "./webgpu-program.ts";

/** Rows per chunk. With fewer, more states are in memory; with more, the products within chunks are longer. */
const chunkSize = 64;

// Four programs, each with one thread per number of its result, and so without barriers. Positions t count in the order
// in which rows are taken; `row(t)` is where they lie. All states of a chunk are relative to its last row.
const preamble = (reverse: boolean): string => `
  const size : i32 = ${chunkSize};
  fn row(t : i32) -> i32 { return ${reverse ? "length() - 1 - t" : "t"}; }
  fn last(chunk : i32) -> i32 { return min((chunk + 1) * size, length()) - 1; }
  // exactly 1 where the reference does not move: devices need not round exp(0) to 1
  fn decay(a : f32, b : f32) -> f32 {
    if (a == b) { return 1.0; }
    return exp(-abs(a - b));
  }`;

/** sums[group, chunk] = sum over the chunk's rows of decay k v^T: `[groups, chunks, features, width]`. */
const chunkSums = `
  fn length() -> i32 { return uniforms.kShape.y; }
  fn main(index : i32) {
    if (index >= uniforms.size) { return; }
    let features = uniforms.kShape.z;
    let width = uniforms.vShape.z;
    let column = index % width;
    let feature = (index / width) % features;
    let chunk = (index / (width * features)) % uniforms.outShape.y;
    let rows = index / (width * features * uniforms.outShape.y) * length();
    let end = reference[rows + row(last(chunk))];
    var sum = 0.0;
    for (var t = chunk * size; t <= last(chunk); t++) {
      let at = rows + row(t);
      sum += k[at * features + feature] * v[at * width + column] * decay(reference[at], end);
    }
    result[index] = sum;
  }`;

/**
 * before[group, chunk] = the state at the start of the chunk, relative to the last row before it. One thread per
 * column.
 */
const statesBefore = `
  fn length() -> i32 { return uniforms.referenceShape.y; }
  fn main(index : i32) {
    let numbers = uniforms.outShape.z * uniforms.outShape.w;
    let chunks = uniforms.outShape.y;
    if (index >= uniforms.outShape.x * numbers) { return; }
    let group = index / numbers;
    var state = 0.0;
    var level = 0.0;
    for (var chunk = 0; chunk < chunks; chunk++) {
      let at = (group * chunks + chunk) * numbers + index % numbers;
      result[at] = state;
      let end = reference[group * length() + row(last(chunk))];
      state = state * decay(level, end) + sums[at];
      level = end;
    }
  }`;

/**
 * pairs[group, t, u] = decay q.k of position t and position u of its chunk, 0 for later ones: `[groups, length, size]`.
 */
const chunkPairs = `
  fn length() -> i32 { return uniforms.qShape.y; }
  fn main(index : i32) {
    if (index >= uniforms.size) { return; }
    let features = uniforms.qShape.z;
    let u = index % size;
    let t = (index / size) % length();
    let rows = index / (size * length()) * length();
    if (u > t % size) { result[index] = 0.0; return; }
    let query = rows + row(t);
    let key = rows + row(t - t % size + u);
    var product = 0.0;
    for (var feature = 0; feature < features; feature++) {
      product += q[query * features + feature] * k[key * features + feature];
    }
    result[index] = product * decay(reference[query], reference[key]);
  }`;

/** y[group, row(t)] = q times the state before its chunk, plus the pairs of its chunk times their values. */
const joined = `
  fn length() -> i32 { return uniforms.qShape.y; }
  fn main(index : i32) {
    if (index >= uniforms.size) { return; }
    let features = uniforms.qShape.z;
    let width = uniforms.vShape.z;
    let column = index % width;
    let at = index / width;
    let rows = at / length() * length();
    let t = row(at % length());
    let chunk = t / size;
    var sum = 0.0;
    if (chunk > 0) {
      let state = ((at / length()) * uniforms.beforeShape.y + chunk) * features;
      for (var feature = 0; feature < features; feature++) {
        sum += q[at * features + feature] * before[(state + feature) * width + column];
      }
      sum *= decay(reference[rows + row(chunk * size - 1)], reference[at]);
    }
    for (var u = 0; u <= t % size; u++) {
      let key = rows + row(chunk * size + u);
      sum += pairs[(rows + t) * size + u] * v[key * width + column];
    }
    result[index] = sum;
  }`;

/**
 * Causal linear attention in WGSL, in chunks of 64 rows: the sums of each chunk, their running sum, the pairs within a
 * chunk, and the two joined. O(length (features width / 64 + 64)) memory. No row reads a later one.
 */
export const causalOnWebGpu: tf.KernelFunc = ({ inputs, backend, attrs }) => {
  const storage = backend as WebGpuBackend;
  const { q, k, v, reference, groups, length, features, width, reverse } = causalCall(inputs, attrs);
  const chunks = Math.ceil(length / chunkSize);
  const run = (name: string, code: string, shape: number[], of: Record<string, tf.TensorInfo>, threads?: number) =>
    runProgram(storage, {
      name: `causal ${name} ${reverse}`,
      code: preamble(reverse) + code,
      inputs: of,
      shape,
      threads,
    });
  const states = [groups, chunks, features, width];
  const sums = run("sums", chunkSums, states, { k, v, reference });
  const before = run("before", statesBefore, states, { sums, reference }, groups * features * width);
  const pairs = run("pairs", chunkPairs, [groups, length, chunkSize], { q, k, reference });
  const y = run("joined", joined, [groups, length, width], { q, v, reference, before, pairs });
  for (const { dataId } of [sums, before, pairs]) storage.disposeData(dataId);
  return y;
};
