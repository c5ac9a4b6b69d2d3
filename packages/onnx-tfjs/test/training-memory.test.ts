import { DataType } from "@favor/onnx";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { expect, it } from "vitest";
import { OnnxModel } from "../src/index.ts";
import { floats, info, integers, model, node, noise } from "./graphs.ts";

const [words, width, heads, dim] = [11, 32, 2, 16];

/** An attention with one weight per head, as FAVOR's features have, after embeddings and before their tied decoder. */
const encoder = model({
  inputs: [info("ids", DataType.INT64, ["batch", "length"])],
  outputs: [info("logits", DataType.FLOAT, ["batch", "length", words])],
  initializers: [
    floats("E", [words, width], noise(words * width, 1)),
    floats("gain", [width], noise(width, 2)),
    floats("bias", [width], noise(width, 3)),
    floats("W", [width, width], noise(width * width, 4)),
    floats("perHead", [heads, dim, dim], noise(heads * dim * dim, 5)),
    integers("split", [4], [0, 0, heads, dim]),
    integers("join", [3], [0, 0, width]),
    integers("last", [1], [-1]),
  ],
  nodes: [
    node("Gather", ["E", "ids"], ["x"]),
    node("LayerNormalization", ["x", "gain", "bias"], ["normed"]),
    node("MatMul", ["normed", "W"], ["projected"]),
    node("Reshape", ["projected", "split"], ["apart"]),
    node("Transpose", ["apart"], ["byHead"], { perm: [0, 2, 1, 3] }),
    node("MatMul", ["byHead", "perHead"], ["queries"]),
    node("ReduceMax", ["queries", "last"], ["largest"]),
    node("Sub", ["queries", "largest"], ["stable"]),
    node("Transpose", ["byHead"], ["keys"], { perm: [0, 1, 3, 2] }),
    node("MatMul", ["stable", "keys"], ["scores"]),
    node("Softmax", ["scores"], ["weights"], { axis: -1 }),
    node("MatMul", ["weights", "byHead"], ["attended"]),
    node("Transpose", ["attended"], ["back"], { perm: [0, 2, 1, 3] }),
    node("Reshape", ["back", "join"], ["joined"]),
    node("Transpose", ["E"], ["decoder"], { perm: [1, 0] }),
    node("MatMul", ["joined", "decoder"], ["logits"]),
  ],
});

const ids = { dims: [2, 48], data: Int32Array.from({ length: 96 }, (_, i) => (i * 7) % words) };

function held(): object {
  const { numTensors, numDataBuffers, numBytes } = tf.memory();
  return { numTensors, numDataBuffers, numBytes, inBackend: tf.backend().numDataIds() };
}

it("500 steps of Adam on wasm hold what the first one held", async () => {
  tf.enableProdMode();
  setThreadsCount(1);
  await tf.setBackend("wasm");
  repairBackend();
  const labels = tf.oneHot(tf.tensor1d(ids.data, "int32"), words);
  const onnx = await OnnxModel.load(encoder);
  const weights = [...onnx.variables().values()];
  const optimizer = tf.train.adam(1e-3);
  const loss = (): tf.Scalar =>
    tf.losses.softmaxCrossEntropy(labels, tf.reshape(onnx.run({ ids })["logits"]!, [-1, words]));
  const step = (): number => {
    const cost = optimizer.minimize(loss, true, weights)!;
    const value = cost.dataSync()[0]!;
    cost.dispose();
    return value;
  };
  const { wasm } = tf.backend() as tf.KernelBackend & { readonly wasm: { readonly HEAPU8: Uint8Array } };
  const first = step();
  const afterFirst = held();
  for (let i = 1; i < 50; i++) step();
  const heap = wasm.HEAPU8.length;
  for (let i = 50; i < 499; i++) step();
  const last = step();
  expect(held()).toEqual(afterFirst);
  expect(wasm.HEAPU8.length).toBe(heap);
  expect(last).toBeLessThan(first / 2);
  optimizer.dispose();
  onnx.dispose();
  labels.dispose();
});
