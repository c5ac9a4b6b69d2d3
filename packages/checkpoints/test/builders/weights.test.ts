import { expect, it } from "vitest";
import { memoryRange, tensorValues } from "@favor/onnx";
import type { CheckpointTensor, StateDict } from "../../src/formats/state-dict.ts";
import { modelOf, readConfiguration, readWeights, valuesOf } from "./checkpoints.ts";

/** BERT of a hidden size at which matrices are left where they are (1 KiB and more). */
const hidden = 32;
const config = { ...readConfiguration("bert-none"), hidden_size: hidden, intermediate_size: 48 };

/** The weights of "bert-none", larger, with every range counting what is read of it. */
function enlarged(reads: Map<string, number>): StateDict {
  const sizes = new Map([
    [8, hidden],
    [12, 48],
  ]);
  return new Map(
    Array.from(readWeights("bert-none"), ([name, { dims: small }]): [string, CheckpointTensor] => {
      const dims = small.map((dim) => sizes.get(dim) ?? dim);
      const count = dims.reduce((product, dim) => product * dim, 1);
      const { length, readInto } = memoryRange(
        new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer),
      );
      const counted = (target: Uint8Array, offset: number): void => {
        reads.set(name, (reads.get(name) ?? 0) + target.length);
        readInto(target, offset);
      };
      return [name, { dataType: 1, dims, range: { length, readInto: counted } }];
    }),
  );
}

it("large weights are not read when the graph is built; matrices are transposed when they are", () => {
  const reads = new Map<string, number>();
  const weights = enlarged(reads);
  const model = modelOf(config, weights);
  const matrix = "encoder.layer.0.intermediate.dense.weight";
  const large = Array.from(weights).filter(([, { range }]) => range.length >= 1024);
  expect(large.length).toBeGreaterThan(10);
  for (const [name] of large) expect([name, reads.get(name)]).toEqual([name, undefined]);

  const initializer = model.graph.initializer.find((tensor) => tensor.name === `${matrix}.transposed`)!;
  const { dims, data } = tensorValues(initializer);
  expect(dims).toEqual([hidden, 48]);
  expect(reads.get(matrix)).toBe(4 * 48 * hidden);
  const plain = valuesOf(weights.get(matrix)!);
  expect(Array.from(data as Float32Array)).toEqual(
    Array.from({ length: 48 * hidden }, (_, i) => plain[(i % 48) * hidden + Math.floor(i / 48)]!),
  );
});

it("embeddings are the very ranges of the checkpoint", () => {
  const weights = enlarged(new Map());
  const { graph } = modelOf(config, weights);
  const name = "embeddings.position_embeddings.weight";
  expect(graph.initializer.find((tensor) => tensor.name === name)!.source!.range).toBe(weights.get(name)!.range);
});

it("a tied decoder does not hold the embedding twice", () => {
  const { graph } = modelOf(readConfiguration("bert-mlm"), readWeights("bert-mlm"));
  const large = graph.initializer.filter(
    (tensor) => tensor.dims.some((dim) => dim.toNumber() === 24) && tensor.dims.length === 2,
  );
  expect(large.map((tensor) => tensor.name)).toEqual(["bert.embeddings.word_embeddings.weight"]);
});
