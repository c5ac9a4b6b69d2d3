import type * as tf from "@tensorflow/tfjs-core";
import { causalCall } from "./causal-inputs.ts";
import type { WebGlBackend } from "./webgl-backend.ts";

const chunkSize = 64;

// The programs of causal-webgpu.ts. A fragment shader writes one number, so each number recomputes its running sum over
// chunks. tfjs caches programs by their text.
const preamble = (length: number, reverse: boolean): string => `
  const int size = ${chunkSize};
  const int rows = ${length};
  int row(int t) { return ${reverse ? "rows - 1 - t" : "t"}; }
  int last(int chunk) { return min((chunk + 1) * size, rows) - 1; }
  float decay(float a, float b) { return a == b ? 1.0 : exp(-abs(a - b)); }`;

const chunkSums = `
  void main() {
    ivec4 at = getOutputCoords(); // group, chunk, feature, column
    float end = getReference(at.x, row(last(at.y)));
    float sum = 0.0;
    for (int t = at.y * size; t <= last(at.y); t++) {
      int key = row(t);
      sum += getK(at.x, key, at.z) * getV(at.x, key, at.w) * decay(getReference(at.x, key), end);
    }
    setOutput(sum);
  }`;

const statesBefore = `
  void main() {
    ivec4 at = getOutputCoords();
    float state = 0.0;
    float level = 0.0;
    for (int chunk = 0; chunk < at.y; chunk++) {
      float end = getReference(at.x, row(last(chunk)));
      state = state * decay(level, end) + getSums(at.x, chunk, at.z, at.w);
      level = end;
    }
    setOutput(state);
  }`;

const chunkPairs = (features: number): string => `
  void main() {
    ivec3 at = getOutputCoords(); // group, position, position in the chunk
    int within = at.y - (at.y / size) * size;
    if (at.z > within) { setOutput(0.0); return; }
    int query = row(at.y);
    int key = row(at.y - within + at.z);
    float product = 0.0;
    for (int feature = 0; feature < ${features}; feature++) {
      product += getQ(at.x, query, feature) * getK(at.x, key, feature);
    }
    setOutput(product * decay(getReference(at.x, query), getReference(at.x, key)));
  }`;

const joined = (features: number): string => `
  void main() {
    ivec3 at = getOutputCoords(); // group, row, column
    int t = row(at.y);
    int chunk = t / size;
    float sum = 0.0;
    if (chunk > 0) {
      for (int feature = 0; feature < ${features}; feature++) {
        sum += getQ(at.x, at.y, feature) * getBefore(at.x, chunk, feature, at.z);
      }
      sum *= decay(getReference(at.x, row(chunk * size - 1)), getReference(at.x, at.y));
    }
    for (int u = 0; u <= t - chunk * size; u++) {
      sum += getPairs(at.x, t, u) * getV(at.x, row(chunk * size + u), at.z);
    }
    setOutput(sum);
  }`;

/** Causal linear attention in GLSL (WebGL 2), in chunks of 64 rows as on webgpu. No row reads a later one. */
export const causalOnWebGl: tf.KernelFunc = ({ inputs, backend, attrs }) => {
  const storage = backend as WebGlBackend;
  const { q, k, v, reference, groups, length, features, width, reverse } = causalCall(inputs, attrs);
  const run = (code: string, outputShape: number[], of: Record<string, tf.TensorInfo>): tf.TensorInfo => {
    const userCode = preamble(length, reverse) + code;
    return storage.runWebGLProgram(
      { variableNames: Object.keys(of), outputShape, userCode },
      Object.values(of),
      "float32",
    );
  };
  const states = [groups, Math.ceil(length / chunkSize), features, width];
  const sums = run(chunkSums, states, { k, v, reference });
  const before = run(statesBefore, states, { sums, reference });
  const pairs = run(chunkPairs(features), [groups, length, chunkSize], { q, k, reference });
  const y = run(joined(features), [groups, length, width], { q, v, reference, before, pairs });
  for (const { dataId } of [sums, before, pairs]) storage.disposeData(dataId);
  return y;
};
