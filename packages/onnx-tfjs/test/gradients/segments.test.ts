import { convertAttention, type ConvertOptions } from "@favor/rewriter";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { segmentsOf } from "../../src/execution/segments.ts";
import { OnnxModel } from "../../src/index.ts";
import { backends } from "@favor/test-support/backends";
import { coreZoo, readModel } from "../zoo/samples.ts";
import { uniform } from "./check.ts";

// The very functions, which count how often they are called.
vi.mock(import("../../src/execution/segments.ts"), { spy: true });

const cases: readonly [string, ConvertOptions][] = [
  ["bert-ts-eager-op17-dyn", { features: "exact" }],
  ["bert-dy-sdpa-op18-dyn", {}],
  ["gpt2-ts113-eager-op14-dyn", { maxLength: 80 }],
  ["bart-ts-sdpa-op17-dyn", { cross: true }],
  ["modernbert-ts-eager-op14-dyn", {}],
];

/** Loss and gradients of all variables, and the most memory that computing them took. */
async function gradients(
  model: OnnxModel,
  length: number,
  segments: number,
): Promise<{ loss: number; grads: Map<string, Float32Array>; peakBytes: number }> {
  const dims = [2, length];
  const next = uniform(9);
  const tokens = Int32Array.from({ length: 2 * length }, () => 3 + Math.floor(25 * next()));
  const mask = Int32Array.from(tokens, (_, i) => Number(i < 1.8 * length));
  const data: Readonly<Record<string, Int32Array>> = {
    attention_mask: mask,
    token_type_ids: new Int32Array(2 * length),
  };
  const feeds = Object.fromEntries(model.inputs.map(({ name }) => [name, { dims, data: data[name] ?? tokens }]));
  const output = model.outputs[0]!.name;
  const before = tf.memory().numBytes;
  let result: ReturnType<typeof tf.variableGrads> | undefined;
  const { peakBytes } = await tf.profile(() => {
    result = tf.variableGrads(
      () => tf.mean(tf.square(model.run(feeds, { outputs: [output], segments })[output]!)) as tf.Scalar,
      [...new Set(model.variables().values())],
    );
    return result.value;
  });
  const { value, grads } = result!;
  const found = new Map(
    Object.entries(grads).map(([name, tensor]) => [name, tensor.dataSync().slice() as Float32Array]),
  );
  const loss = value.dataSync()[0]!;
  tf.dispose([value, grads]);
  return { loss, grads: found, peakBytes: peakBytes - before };
}

describe.each(backends)("gradients of a run in segments on %s", (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    repairBackend();
  });

  test.each(cases)("%s: those of the run as a whole, and nothing is left behind", async (name, options) => {
    const entry = coreZoo.entries.find((candidate) => candidate.name === name)!;
    const model = await OnnxModel.load(convertAttention(readModel(coreZoo, entry), { count: 16, ...options }).model);
    const whole = await gradients(model, 24, 1);
    const tensors = tf.memory().numTensors;
    for (const segments of [2, 5]) {
      const parts = await gradients(model, 24, segments);
      expect(parts.loss).toBe(whole.loss);
      expect([...parts.grads.keys()].toSorted()).toEqual([...whole.grads.keys()].toSorted());
      for (const [variable, gradient] of whole.grads) {
        const scale = Math.max(...gradient.map(Math.abs), 1e-12);
        const difference = parts.grads.get(variable)!.map((x, i) => Math.abs(x - gradient[i]!) / scale);
        expect({ variable, difference: Math.max(...difference) }).toSatisfy((found) => found.difference < 1e-5);
      }
    }
    expect(tf.memory().numTensors).toBe(tensors);
    model.dispose();
  });

  test("runs that want the same are divided once for a number of segments", async () => {
    const entry = coreZoo.entries.find(({ name }) => name === "bert-ts-eager-op17-dyn")!;
    const model = await OnnxModel.load(readModel(coreZoo, entry));
    const feeds = Object.fromEntries(
      model.inputs.map(({ name }) => [name, { dims: [1, 4], data: Int32Array.of(1, 1, 1, 1) }]),
    );
    const output = model.outputs[0]!.name;
    const run = (segments: number): number[] =>
      tf.tidy(() => [...model.run(feeds, { outputs: [output], segments })[output]!.dataSync()]);
    const whole = run(1);
    vi.mocked(segmentsOf).mockClear();
    for (const [segments, times] of [
      [3, 1],
      [3, 1],
      [4, 2],
      [3, 2],
    ] as const) {
      expect(run(segments)).toEqual(whole);
      expect(segmentsOf).toHaveBeenCalledTimes(times);
    }
    model.dispose();
  });

  test("less memory, the longer the input", async () => {
    const entry = coreZoo.entries.find(({ name }) => name === "bert-ts-eager-op17-dyn")!;
    const model = await OnnxModel.load(readModel(coreZoo, entry));
    const [whole, parts] = [await gradients(model, 32, 1), await gradients(model, 32, 8)];
    expect(parts.peakBytes).toBeLessThan(0.6 * whole.peakBytes);
    model.dispose();
  });
});
