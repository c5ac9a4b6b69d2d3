import { expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import { DataType } from "@favor/onnx";
import { dim, heads, hidden, hiddenStates, layerModel, reEmissionDifference } from "@favor/test-support/layer";
import type { Layer, LayerInput } from "@favor/test-support/layer";

interface Case {
  readonly name: string;
  readonly write: (layer: Layer) => string;
  readonly kinds: readonly ("self" | "cross")[];
  readonly inputs?: readonly LayerInput[];
}

const memory: LayerInput = { name: "memory", dataType: DataType.FLOAT, dims: ["batch", "keys", hidden] };

/** [batch, length / stride, hidden] of [batch, length, hidden]: a convolution along the positions. */
const convolve = (b: Layer, x: string, stride: number, group: number): string => {
  const weight = b.weights([hidden, hidden / group, 3]);
  const convolved = b.op("Conv", [b.transpose(x, [0, 2, 1]), weight], {
    kernel_shape: { ints: [3] },
    pads: { ints: [1, 1] },
    strides: { ints: [stride] },
    group: { int: group },
  });
  return b.transpose(convolved, [0, 2, 1]);
};

const normalise = (b: Layer, x: string): string =>
  b.op("LayerNormalization", [x, b.weights([hidden]), b.weights([hidden])]);

const attend = (b: Layer, queries: string, keys: string): string => {
  const [q, k, v] = [b.project(queries), b.project(keys), b.project(keys)];
  return b.merge(b.op("MatMul", [b.softmax(b.logits(q, k)), v]));
};

const cases: Case[] = [
  {
    name: "fewer keys than queries, by a strided convolution and a normalisation (SegFormer, PVT)",
    kinds: ["self"],
    write: (b) => {
      const x = normalise(b, "x");
      return attend(b, x, normalise(b, convolve(b, x, 2, 1)));
    },
  },
  {
    name: "queries and keys of convolutions of their own, the keys' strided (CvT)",
    kinds: ["self"],
    write: (b) => attend(b, convolve(b, "x", 1, hidden), convolve(b, "x", 2, hidden)),
  },
  {
    name: "queries convolved after their projection (EfficientViT)",
    kinds: ["self"],
    write: (b) => {
      const [q, k, v] = [b.linear("x"), b.linear("x"), b.linear("x")];
      const split = (value: string): string => b.transpose(b.reshape(value, [0, 0, heads, dim]), [0, 2, 1, 3]);
      const logits = b.logits(split(convolve(b, q, 1, hidden)), split(k));
      return b.merge(b.op("MatMul", [b.softmax(logits), split(v)]));
    },
  },
  {
    name: "positions added to the keys alone",
    kinds: ["self"],
    write: (b) => attend(b, "x", b.op("Add", ["x", b.weights([hidden])])),
  },
  {
    name: "a decoder's layers, whose second sees the memory in its queries too",
    kinds: ["self", "cross", "self", "cross"],
    inputs: [hiddenStates, memory],
    write: (b) => {
      let x = "x";
      for (let layer = 0; layer < 2; layer++) {
        x = b.op("Add", [x, attend(b, x, x)]);
        x = b.op("Add", [x, attend(b, x, "memory")]);
      }
      return x;
    },
  },
  {
    name: "keys of an encoder of the queries' own input",
    kinds: ["self", "cross"],
    write: (b) => attend(b, "x", attend(b, "x", "x")),
  },
  {
    name: "keys of a network without attention",
    kinds: ["cross"],
    write: (b) => {
      let x = "x";
      for (let layer = 0; layer < 5; layer++) x = b.op("Relu", [b.linear(x)]);
      return attend(b, "x", x);
    },
  },
];

test.each(cases)("$name: $kinds", async ({ write, kinds, inputs = [hiddenStates] }) => {
  const { sites } = inspectAttention(layerModel(write, { inputs }));
  expect(sites.map(({ kind, reasons }) => [kind, ...reasons])).toEqual(kinds.map((kind) => [kind]));
  expect(await reEmissionDifference(() => layerModel(write, { inputs }), false)).toBeLessThan(5e-6);
});
