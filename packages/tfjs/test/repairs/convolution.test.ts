import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, it } from "vitest";
import { repairBackend } from "../../src/index.ts";
import { version } from "@favor/test-support/backends";
import { gaussians, relativeError } from "../ops/samples.ts";

interface Case {
  readonly name: string;
  readonly x: number[];
  readonly filter: number[];
  readonly f: (x: tf.Tensor, filter: tf.Tensor) => tf.Tensor;
}

const convolution =
  (strides: [number, number], pad: "same" | "valid") =>
  (x: tf.Tensor, filter: tf.Tensor): tf.Tensor =>
    tf.conv2d(x as tf.Tensor4D, filter as tf.Tensor4D, strides, pad);
const depthwise =
  (strides: [number, number], pad: "same" | "valid") =>
  (x: tf.Tensor, filter: tf.Tensor): tf.Tensor =>
    tf.depthwiseConv2d(x as tf.Tensor4D, filter as tf.Tensor4D, strides, pad);

const cases: readonly Case[] = [
  { name: "conv2d", x: [2, 7, 6, 3], filter: [3, 2, 3, 4], f: convolution([1, 1], "same") },
  { name: "conv2d, strides", x: [2, 8, 7, 3], filter: [3, 3, 3, 2], f: convolution([2, 3], "valid") },
  { name: "conv2d, strides, same", x: [1, 8, 7, 3], filter: [3, 4, 3, 2], f: convolution([2, 3], "same") },
  { name: "depthwiseConv2d", x: [2, 7, 6, 3], filter: [3, 2, 3, 2], f: depthwise([1, 1], "same") },
  { name: "depthwiseConv2d, strides", x: [2, 9, 8, 3], filter: [3, 3, 3, 1], f: depthwise([2, 2], "valid") },
  { name: "depthwiseConv2d, strides, same", x: [1, 8, 7, 2], filter: [3, 3, 2, 2], f: depthwise([2, 2], "same") },
  {
    name: "conv1d",
    x: [2, 9, 3],
    filter: [3, 3, 4],
    f: (x, filter) => tf.conv1d(x as tf.Tensor3D, filter as tf.Tensor3D, 2, "same"),
  },
];

function gradients({ x, filter, f }: Case): Float32Array[] {
  const [a, b] = [x, filter].map((shape, i) => tf.tensor(gaussians(tf.util.sizeFromShape(shape), i + 1), shape));
  const dy = f(a!, b!);
  const upstream = tf.tensor(gaussians(dy.size, 3), dy.shape);
  return tf
    .grads(f)([a!, b!], upstream)
    .map((gradient) => gradient.dataSync<"float32">().slice());
}

it("wasm: gradients of convolutions are missing; if this fails, tfjs has mended it: drop that repair", async () => {
  expect(version).toBe("4.22.0");
  await tf.setBackend("wasm");
  expect(() => gradients(cases[0]!)).toThrow(/Conv2DBackpropFilter/);
  expect(() => gradients(cases[3]!)).toThrow(/DepthwiseConv2dNativeBackprop/);
});

describe("gradients of convolutions on repaired wasm", () => {
  beforeAll(async () => {
    await tf.setBackend("wasm");
    repairBackend();
  });

  it.each(cases.map((each) => [each.name, each] as const))("%s: those of cpu", async (_name, each) => {
    await tf.setBackend("cpu");
    const expected = gradients(each);
    await tf.setBackend("wasm");
    for (const [i, gradient] of gradients(each).entries()) {
      expect(relativeError(gradient, expected[i]!)).toBeLessThan(1e-5);
    }
  });

  it("a model with a convolution trains", async () => {
    await tf.setBackend("wasm");
    const model = tf.sequential();
    model.add(tf.layers.conv1d({ filters: 4, kernelSize: 3, inputShape: [8, 3], padding: "same" }));
    model.add(tf.layers.flatten());
    model.add(tf.layers.dense({ units: 1 }));
    model.compile({ optimizer: tf.train.adam(0.05), loss: "meanSquaredError" });
    const [x, y] = [tf.tensor(gaussians(96, 1), [4, 8, 3]), tf.tensor(gaussians(4, 2), [4, 1])];
    const { history } = await model.fit(x, y, { epochs: 20, verbose: 0, yieldEvery: "never" });
    const losses = history["loss"] as number[];
    expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]!);
  });
});
