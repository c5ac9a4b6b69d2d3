import { encodeModel, type ModelProto } from "@favor/onnx";
import { convertAttention, type ConvertOptions } from "@favor/rewriter";
import { onEveryBackend } from "@favor/test-support/backends";
import { hidden, hiddenStates, layerModel, paddingMask } from "@favor/test-support/layer";
import { openSession } from "@favor/test-support/onnxruntime";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { Tensor } from "onnxruntime-node";
import { beforeAll, expect, test } from "vitest";
import { OnnxModel } from "../src/index.ts";
import { uniform } from "./gradients/check.ts";

/** A layer of attention with padding. */
const layer = (): ModelProto =>
  layerModel((b) => b.attend((s) => b.softmax(b.op("Add", [s, b.paddingBias()]))), {
    inputs: [hiddenStates, paddingMask],
  });

const converted = (options: ConvertOptions): ModelProto => convertAttention(layer(), { count: 16, ...options }).model;

/** Two sequences, the second one padded at its end. */
function feedsOf(length: number) {
  const next = uniform(5);
  const x = Float32Array.from({ length: 2 * length * hidden }, () => 4 * next() - 2);
  const mask = Int32Array.from({ length: 2 * length }, (_, i) => Number(i < 1.7 * length));
  return { x: { dims: [2, length, hidden], data: x }, mask: { dims: [2, length], data: mask } };
}

/** The layer's weights and those of feature maps, but not what stands for masks. */
const isWeight = (name: string): boolean => /^layer\/weight|^favor\/(omega|norm|bias_query|bias_key|core)/.test(name);

/** A weight for each output, 0 at padding. */
function weightsOf(length: number): tf.Tensor {
  const next = uniform(8);
  const shown = feedsOf(length).mask.data;
  const weights = Float32Array.from({ length: 2 * length * hidden }, (_, i) =>
    shown[Math.floor(i / hidden)] === 0 ? 0 : next() - 0.5,
  );
  return tf.tensor3d(weights, [2, length, hidden]);
}

const outputOf = (model: OnnxModel, length: number): tf.Tensor =>
  tf.mul(model.run(feedsOf(length))["out"]!, weightsOf(length));

interface Found {
  readonly outputs: Float32Array;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** The weighted outputs, and the gradients of their sum by the names of the weights. */
function differentiate(model: OnnxModel, length: number): Found {
  const found: { outputs: Float32Array; gradients: Map<string, Float32Array> } = {
    outputs: new Float32Array(0),
    gradients: new Map(),
  };
  tf.tidy(() => {
    found.outputs = outputOf(model, length).dataSync<"float32">();
    const loss = (): tf.Scalar => tf.sum(outputOf(model, length));
    const { grads } = tf.variableGrads(loss, [...model.variables().values()]);
    for (const [name, variable] of model.variables()) {
      // one block has no far field, and its features no gradient
      const gradient = grads[variable.name]?.dataSync<"float32">();
      found.gradients.set(name, gradient ?? new Float32Array(variable.size));
    }
  });
  return found;
}

async function onnxruntimeOutputs(proto: ModelProto, length: number): Promise<Float32Array> {
  const session = await openSession(encodeModel(proto));
  const { x, mask } = feedsOf(length);
  const { out } = await session.run({
    x: new Tensor("float32", x.data, [2, length, hidden]),
    mask: new Tensor("int64", BigInt64Array.from(mask.data, BigInt), [2, length]),
  });
  return out!.data as Float32Array;
}

const largest = (values: Iterable<number>): number => {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
};

function difference(a: Float32Array, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return largest(a.map((value, i) => value - b[i]!));
}

const choosing = { exactKeys: { window: 16, chosenBlocks: 2 } } as const;

onEveryBackend("attention with exact keys", () => {
  beforeAll(() => repairBackend());

  test.each([
    ["near field and chosen blocks", choosing, 150],
    ["near field and chosen blocks, another map", { ...choosing, features: "oprf" }, 150],
    ["near field", { exactKeys: { window: 32 } }, 130],
    ["one block", choosing, 9],
  ] as [string, ConvertOptions, number][])(
    "%s: as onnxruntime, and gradients as differences",
    async (_, options, length) => {
      const proto = converted(options);
      const before = tf.memory().numTensors;
      const model = await OnnxModel.load(proto, { trainable: isWeight });
      const { outputs, gradients } = differentiate(model, length);
      const expected = await onnxruntimeOutputs(proto, length);
      const weights = weightsOf(length);
      const weighted = tf.tidy(() => tf.mul(tf.tensor(expected, weights.shape), weights).dataSync());
      weights.dispose();
      expect(difference(outputs, weighted)).toBeLessThan(1e-5);

      // all features have a gradient where there is a far field, and the scale of the query as well: it does not cancel
      const ofFeatures = ["omega_query", "omega_key", "bias_query"].map((stem) =>
        largest(gradients.get(`favor/${stem}`)!),
      );
      expect(Math.min(...ofFeatures) > 1e-6).toBe(length > 64);
      // Along the gradient mostly, so that the difference stands out of float32's rounding.
      const next = uniform(3);
      const directions = new Map(
        [...gradients].map(([name, gradient]) => {
          const size = Math.hypot(...gradient) / Math.sqrt(gradient.length) || 1e-8;
          return [name, gradient.map((x) => x / size + (next() - 0.5))] as const;
        }),
      );
      let slope = 0;
      for (const [name, gradient] of gradients) gradient.forEach((x, i) => (slope += x * directions.get(name)![i]!));
      const starts = new Map(
        [...model.variables()].map(([name, variable]) => [name, variable.dataSync<"float32">().slice()]),
      );
      const at = (step: number): number => {
        for (const [name, values] of starts)
          model.assign(
            name,
            values.map((x, i) => x + step * directions.get(name)![i]!),
          );
        return tf.tidy(() => tf.sum(outputOf(model, length)).dataSync()[0]!);
      };
      const step = 2e-4;
      const quotient = (at(step) - at(-step)) / (2 * step);
      expect(Math.abs(slope)).toBeGreaterThan(1);
      expect(Math.abs(slope - quotient)).toBeLessThan(2e-2 * Math.abs(slope));
      model.dispose();
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  test.each([
    ["a near field of all keys", { exactKeys: { window: 64 } }, 70],
    ["exact by block", { features: "exact" }, 600],
  ] as [string, ConvertOptions, number][])(
    "%s has the outputs and gradients of softmax",
    async (_, options, length) => {
      const [original, rewritten] = await Promise.all(
        [layer(), converted(options)].map(async (proto) => {
          const model = await OnnxModel.load(proto, { trainable: isWeight });
          const found = differentiate(model, length);
          model.dispose();
          return found;
        }),
      );
      expect(difference(rewritten!.outputs, original!.outputs)).toBeLessThan(1e-5);
      const scale = Math.max(...[...original!.gradients.values()].map(largest));
      expect(original!.gradients.size).toBe(6);
      for (const [name, gradient] of original!.gradients) {
        const apart = difference(rewritten!.gradients.get(name)!, gradient);
        expect({ name, isEqual: apart < 1e-4 * scale }).toEqual({ name, isEqual: true });
      }
    },
  );
});

/** The most bytes held at once, besides those before. */
async function peak(options: ConvertOptions, length: number): Promise<number> {
  const model = await OnnxModel.load(converted(options), { trainable: isWeight });
  const before = tf.memory().numBytes;
  const { peakBytes } = await tf.profile(() => {
    differentiate(model, length);
    return tf.scalar(0);
  });
  model.dispose();
  return peakBytes - before;
}

test("a forward and a backward pass take memory in proportion to the length", async () => {
  await tf.setBackend("wasm");
  repairBackend();
  for (const options of [choosing, { features: "exact" }] as ConvertOptions[]) {
    const [short, long] = [await peak(options, 512), await peak(options, 2048)];
    // softmax holds several matrices [2, 2, 2048, 2048] of 67 MB
    expect(long).toBeLessThan(180e6);
    expect(long / short).toBeLessThan(4.5);
  }
});
