import { DataType, type ModelProto } from "@favor/onnx";
import { convertAttention } from "@favor/rewriter";
import { onEveryBackend } from "@favor/test-support/backends";
import { hidden, hiddenStates, layerModel, paddingMask, type Layer } from "@favor/test-support/layer";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, test } from "vitest";
import { OnnxModel } from "../src/index.ts";
import { uniform } from "./gradients/check.ts";

/** Attention with padding, to the keys at most so far before and behind the query. */
function windowModel(before: number, after: number): ModelProto {
  const keep = (b: Layer): string => {
    const isNear = b.op("GreaterOrEqual", [b.distances(), b.integer(-before)]);
    return b.op("And", [isNear, b.op("LessOrEqual", [b.distances(), b.integer(after)])]);
  };
  return layerModel((b) => b.attend((s) => b.softmax(b.op("Add", [b.masked(keep(b), s), b.paddingBias()]))), {
    inputs: [hiddenStates, paddingMask],
  });
}

/** The sum of squares of the outputs at positions that count, and its gradient by the name of the weight. */
function lossAndGradients(model: OnnxModel, length: number): Map<string, Float32Array> {
  const next = uniform(5);
  const x = Float32Array.from({ length: 2 * length * hidden }, () => 4 * next() - 2);
  const mask = Int32Array.from({ length: 2 * length }, (_, i) => Number(i < 1.7 * length));
  const feeds = {
    x: { dims: [2, length, hidden], data: x },
    mask: { dims: [2, length], dataType: DataType.INT64, data: mask },
  };
  const found = new Map<string, Float32Array>();
  tf.tidy(() => {
    const counts = tf.tensor3d(Float32Array.from(mask), [2, length, 1]);
    const loss = () => tf.sum(tf.square(tf.mul(model.run(feeds)["out"]!, counts))) as tf.Scalar;
    const { value, grads } = tf.variableGrads(loss, [...model.variables().values()]);
    const names = new Map([...model.variables()].map(([name, variable]) => [variable.name, name]));
    found.set("loss", value.dataSync() as Float32Array);
    for (const [name, gradient] of Object.entries(grads)) {
      found.set(names.get(name)!, gradient.dataSync() as Float32Array);
    }
  });
  return found;
}

const largest = (values: Float32Array): number => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

onEveryBackend("attention within a window gives the outputs and gradients of the original", () => {
  beforeAll(() => repairBackend());

  test.each([
    ["short enough for one block", 3, 3, 7],
    ["blocks at once", 3, 3, 80],
    ["causal, blocks at once", 20, 0, 90],
    ["one block after another", 290, 0, 400],
  ])("%s: %i before, %i after, %i tokens", async (_, before, after, length) => {
    const [original, converted] = [windowModel(before, after), convertAttention(windowModel(before, after)).model];
    const [expected, found] = await Promise.all(
      [original, converted].map(async (proto) => {
        const model = await OnnxModel.load(proto);
        const made = lossAndGradients(model, length);
        model.dispose();
        return made;
      }),
    );
    expect(expected!.size).toBeGreaterThan(6);
    // A bias of the keys changes nothing, so its gradient is rounding alone.
    const scale = Math.max(...[...expected!].map(([name, values]) => (name === "loss" ? 0 : largest(values))));
    for (const [name, values] of expected!) {
      const other = found!.get(name)!;
      const worst = values.reduce((most, value, i) => Math.max(most, Math.abs(value - other[i]!)), 0);
      expect([name, worst <= 1e-4 * (name === "loss" ? largest(values) : scale)]).toEqual([name, true]);
    }
  });
});
