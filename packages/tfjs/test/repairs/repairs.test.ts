import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { MultiHeadAttention, repairBackend } from "../../src/index.ts";
import { version } from "@favor/test-support/backends";
import { gaussians } from "../ops/samples.ts";

// The order matters: first what tfjs does by itself, then the repair.

describe("what tfjs 4.22 lacks; if one of these fails, tfjs has mended it: drop that repair", () => {
  it("wasm: memory that is not there gets an address", async () => {
    await tf.setBackend("wasm");
    expect(version).toBe("4.22.0");
    interface Wasm {
      readonly HEAPU8: Uint8Array;
      _malloc(bytes: number): number;
    }
    const { wasm } = tf.backend() as tf.KernelBackend & { wasm: Wasm };
    const address = wasm._malloc(2 ** 32) >>> 0;
    expect(address).toBeGreaterThan(0);
    expect(address + 2 ** 32).toBeGreaterThan(wasm.HEAPU8.length);
  });
});

describe("repairBackend", () => {
  it("says what it repaired", async () => {
    await tf.setBackend("wasm");
    expect(repairBackend()).toEqual([
      "Tile gradient",
      "Max gradient",
      "UnsortedSegmentSum",
      "BatchMatMul",
      "Slice",
      "SplitV",
      "Tile",
      "Einsum",
      "Conv2DBackpropFilter",
      "DepthwiseConv2dNativeBackpropFilter",
      "DepthwiseConv2dNativeBackpropInput",
      "GatherV2",
      "Cast",
      "allocation",
    ]);
  });

  it("makes wasm fail where memory ends, and go on", async () => {
    await tf.setBackend("wasm");
    const [column, row] = [tf.ones<tf.Rank.R2>([2 ** 15, 1]), tf.ones<tf.Rank.R2>([1, 2 ** 15])];
    const call = (): tf.Tensor => tf.matMul(column, row);
    expect(call).toThrow(expect.objectContaining({ code: "out-of-memory" }));
    expect(call).toThrow(/4096 MiB/);
    expect(tf.sum(column).dataSync()[0]).toBe(2 ** 15);
    tf.dispose([column, row]);
  });

  it("is idempotent, names the backend or takes the one in use, and leaves others alone", async () => {
    await tf.setBackend("wasm");
    expect(repairBackend()).toEqual([]);
    expect(repairBackend("wasm")).toEqual([]);
    expect(repairBackend("webgl")).toEqual(["Sin", "Cos"]);
    expect(repairBackend("webgl")).toEqual([]);
  });

  it("leaves no tensor behind, and a model with an embedding trains on wasm", async () => {
    await tf.setBackend("wasm");
    const [a, b] = [tf.ones([3, 64, 64]), tf.ones([3, 64, 64])];
    const alive = tf.memory().numTensors;
    const dataIds = tf.backend().numDataIds();
    tf.matMul(a, b, true, true).dispose();
    expect(tf.memory().numTensors).toBe(alive);
    expect(tf.backend().numDataIds()).toBe(dataIds);
    const model = tf.sequential();
    model.add(tf.layers.embedding({ inputDim: 7, outputDim: 8, inputLength: 5 }));
    const projection = { kind: "orthogonal", count: 16, dim: 4, seed: 1 } as const;
    model.add(
      new MultiHeadAttention({ numHeads: 2, keyDim: 4, attention: { version: 1, kind: "positive", projection } }),
    );
    model.compile({ optimizer: tf.train.adam(0.05), loss: "meanSquaredError" });
    const tokens = tf.tensor2d([
      [1, 2, 3, 4, 5],
      [2, 3, 4, 5, 6],
    ]);
    const target = tf.tensor(gaussians(80, 5), [2, 5, 8]);
    const { history } = await model.fit(tokens, target, { epochs: 30, verbose: 0, yieldEvery: "never" });
    const losses = history["loss"] as number[];
    expect(losses.at(-1)!).toBeLessThan(0.7 * losses[0]!);
  });
});
