import { convertAttention, type ConvertOptions } from "@favor/rewriter";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import { OnnxModel } from "../../src/index.ts";
import { backends } from "@favor/test-support/backends";
import { coreZoo, readModel } from "../zoo/samples.ts";
import { uniform } from "./check.ts";

/** The model `name` of the zoo's core, converted. */
async function converted(name: string, options: ConvertOptions): Promise<OnnxModel> {
  const entry = coreZoo.entries.find((candidate) => candidate.name === name)!;
  return OnnxModel.load(convertAttention(readModel(coreZoo, entry), { count: 16, ...options }).model);
}

/** A weighted mean of the outputs for two sequences of `length` tokens, the second one padded at its end. */
function lossOf(model: OnnxModel, length: number): () => tf.Scalar {
  const dims = [2, length];
  const next = uniform(9);
  const tokens = Int32Array.from({ length: 2 * length }, () => 3 + Math.floor(25 * next()));
  const mask = Int32Array.from(tokens, (_, i) => Number(i < 1.8 * length));
  const zeros = new Int32Array(2 * length);
  const data: Readonly<Record<string, Int32Array>> = { attention_mask: mask, token_type_ids: zeros };
  const feeds = Object.fromEntries(model.inputs.map(({ name }) => [name, { dims, data: data[name] ?? tokens }]));
  const output = model.outputs[0]!.name;
  return () => {
    const found = model.run(feeds, { outputs: [output] })[output]!;
    const draw = uniform(8);
    const weights = Float32Array.from({ length: found.size }, () => draw() - 0.5);
    return tf.mean(tf.mul(tf.reshape(found, [found.size]), tf.tensor1d(weights))) as tf.Scalar;
  };
}

/** The derivative along one direction of all variables: of the tape, and of differences in float32. */
function derivatives(model: OnnxModel, length: number): { found: number; expected: number } {
  return tf.tidy(() => {
    const loss = lossOf(model, length);
    const variables = [...model.variables().values()];
    const { grads } = tf.variableGrads(loss, variables);
    const next = uniform(3);
    // Along the gradient mostly, so that the difference stands out of float32's rounding.
    const directions = variables.map((variable) => {
      const gradient = (grads[variable.name]?.dataSync() ?? new Float32Array(variable.size)) as Float32Array;
      const size = Math.hypot(...gradient) / Math.sqrt(gradient.length) || 1e-8;
      return Float32Array.from(gradient, (x) => x / size + (next() - 0.5));
    });
    let found = 0;
    for (const [i, variable] of variables.entries()) {
      const gradient = grads[variable.name]?.dataSync();
      if (gradient !== undefined) for (const [j, x] of gradient.entries()) found += x * directions[i]![j]!;
    }
    const starts = variables.map((variable) => variable.dataSync().slice() as Float32Array);
    const at = (step: number): number => {
      for (const [i, variable] of variables.entries()) {
        const moved = starts[i]!.map((x, j) => x + step * directions[i]![j]!);
        variable.assign(tf.tensor(moved, variable.shape));
      }
      return loss().dataSync()[0]!;
    };
    const step = 1e-4;
    return { found, expected: (at(step) - at(-step)) / (2 * step) };
  });
}

const cases: readonly [string, string, number, ConvertOptions][] = [
  ["softmax", "bert-ts-eager-op17-dyn", 12, { features: "exact" }],
  ["positive features", "bert-ts-eager-op17-dyn", 12, {}],
  ["features of a ReLU", "bert-ts-eager-op17-dyn", 12, { features: "relu" }],
  ["causal, chunks and Scan", "gpt2-ts113-eager-op14-dyn", 70, { maxLength: 80 }],
  ["ALiBi, a Scan to each side", "xtrans_alibi-ts-op17-fix", 12, {}],
  ["causal, LinearAttention", "gpt2-ts113-eager-op14-dyn", 70, { maxLength: 80, target: "onnxruntime" }],
];

describe.each(backends)("a whole model is differentiated on %s", (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    repairBackend();
  });

  test.each(cases)("%s: %s", async (_, name, length, options) => {
    const before = tf.memory().numTensors;
    const model = await converted(name, options);
    const { found, expected } = derivatives(model, length);
    expect(Math.abs(expected)).toBeGreaterThan(1e-3);
    expect(Math.abs(found - expected)).toBeLessThan(2e-2 * Math.abs(expected));
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});
