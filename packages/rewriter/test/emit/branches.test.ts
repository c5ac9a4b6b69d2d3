import { Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { DataType, encodeModel, type ModelProto } from "@favor/onnx";
import { hidden, hiddenStates, layerModel, type Layer } from "@favor/test-support/layer";
import { openSession } from "@favor/test-support/onnxruntime";
import { branch } from "../../src/emit/branch.ts";
import { convertAttention } from "../../src/model-attention.ts";

const memory = { name: "memory", dataType: DataType.FLOAT, dims: ["batch", "keys", hidden] };

/** sin(key - 2 query), [1, queries, keys] */
function bias(b: Layer): string {
  const [rows, columns] = ["x", "memory"].map((of) => b.cast(b.positions(of), DataType.FLOAT)) as [string, string];
  const twice = b.op("Mul", [b.unsqueeze(rows, [1]), b.scalar(2)]);
  return b.unsqueeze(b.op("Sin", [b.op("Sub", [b.unsqueeze(columns, [0]), twice])]), [0]);
}

/** Cross-attention whose bias is another one if there are as many keys as queries. */
function write(b: Layer): string {
  const own = bias(b);
  const isSquare = b.op("Equal", [b.dimension("x", 1), b.dimension("memory", 1)]);
  const value = { rank: 3, dataType: DataType.FLOAT };
  const added = branch(
    b,
    isSquare,
    (inner) => inner.op("Mul", [own, inner.scalar(-3)]),
    (inner) => inner.op("Identity", [own]),
    value,
  );
  const logits = b.op("Add", [b.logits(b.project("x"), b.project("memory")), added]);
  return b.merge(b.op("MatMul", [b.softmax(logits), b.project("memory")]));
}

const states = (length: number, seed: number): Tensor =>
  new Tensor(
    "float32",
    Float32Array.from({ length: 2 * length * hidden }, (_, i) => Math.sin(seed * i + seed)),
    [2, length, hidden],
  );

async function output(model: ModelProto, queries: number, keys: number): Promise<Float32Array> {
  const session = await openSession(encodeModel(model));
  const { out } = await session.run({ x: states(queries, 1.7), memory: states(keys, 2.3) });
  return out!.data as Float32Array;
}

test.each([
  [9, 7],
  [9, 9],
  [1, 5],
  [1, 1],
])("attention of %i queries to %i keys takes the branch that the original takes", async (queries, keys) => {
  const model = layerModel(write, { inputs: [hiddenStates, memory] });
  const { model: converted, sites } = convertAttention(model, { features: "exact", block: 4 });
  expect(sites.map(({ state }) => state)).toEqual(["exact by block"]);
  const [before, after] = [await output(model, queries, keys), await output(converted, queries, keys)];
  const worst = before.reduce((most, number, i) => Math.max(most, Math.abs(number - after[i]!)), 0);
  expect(worst).toBeLessThan(2e-6);
});
