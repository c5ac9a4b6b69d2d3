import type { FeatureMapDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import {
  maskedCrossEntropy,
  maskedLMPresets,
  PerformerEncoder,
  performerMaskedLM,
  redrawEvery,
  repairBackend,
} from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { everyMap, gaussians, relativeError } from "../ops/samples.ts";

const sizes = { vocabularySize: 11, maxLength: 16, numLayers: 2, modelDim: 8, numHeads: 2, feedForwardDim: 16 };
const kinds = ["exact", "positive", "generalized relu", "landmark"];

/** A model with weights far enough from their small first values for every part to matter. */
function modelOf(kind: string, options: { useCausalMask?: boolean; maskZero?: boolean } = {}): tf.LayersModel {
  const attention = kind === "exact" ? kind : everyMap(4, 16)[kind]!;
  const model = performerMaskedLM({ ...sizes, ...options, attention });
  const random = model.trainableWeights.map(({ shape }, i) =>
    tf.tensor(gaussians(tf.util.sizeFromShape(shape as number[]), 90 + i, 0.4), shape as number[]),
  );
  const frozen = model.getWeights().slice(random.length);
  model.setWeights([...random, ...frozen]);
  return model;
}

const logits = (model: tf.LayersModel, tokens: number[][]): Float32Array =>
  (model.predict(tf.tensor2d(tokens)) as tf.Tensor).dataSync<"float32">().slice();

/** The projections of every layer and head. */
const drawn = (from: tf.LayersModel): Float32Array[] =>
  from.weights
    .filter(({ originalName }) => originalName.endsWith("projection"))
    .flatMap((weight) => weight.read().unstack())
    .map((projection) => projection.dataSync<"float32">().slice());

onEveryBackend("PerformerMaskedLM", () => {
  it.each(kinds)("%s: neither padding nor its neighbours in the batch change a sequence's logits", (kind) => {
    const model = modelOf(kind);
    const alone = logits(model, [[3, 5, 1, 7]]);
    const padded = logits(model, [
      [9, 2, 2, 4, 10, 6, 8],
      [3, 5, 1, 7, 0, 0, 0],
    ]);
    const from = 7 * sizes.vocabularySize;
    expect(relativeError(padded.subarray(from, from + alone.length), alone)).toBeLessThan(1e-5);
    expect(relativeError(padded.subarray(0, alone.length), alone)).toBeGreaterThan(0.1);
  });

  it.each(kinds)("%s: without maskZero token 0 is a token like others", (kind) => {
    const model = modelOf(kind, { maskZero: false });
    const first = sizes.vocabularySize;
    const [short, long] = [logits(model, [[3, 5, 1]]), logits(model, [[3, 5, 1, 0]])];
    expect(relativeError(long.subarray(0, first), short.subarray(0, first))).toBeGreaterThan(1e-3);
  });

  it.each(kinds)("%s: causal logits do not depend on later tokens, others do", (kind) => {
    const [causal, bidirectional] = [true, false].map((useCausalMask) => {
      const model = modelOf(kind, { useCausalMask });
      const [a, b] = [logits(model, [[3, 5, 1, 7, 2, 9]]), logits(model, [[3, 5, 1, 4, 8, 2]])];
      const until = 3 * sizes.vocabularySize;
      return relativeError(b.subarray(0, until), a.subarray(0, until));
    });
    expect(causal!).toBeLessThan(1e-6);
    expect(bidirectional!).toBeGreaterThan(1e-3);
  });

  it("the output projection is the token embedding", () => {
    const model = modelOf("positive");
    const names = model.weights.map(({ originalName, shape }) => `${originalName.split("/").pop()} ${shape}`);
    expect(names.filter((name) => name.startsWith("embeddings") || name.includes("11"))).toEqual([
      "output_bias 11",
      "embeddings 11,8",
    ]);
    expect(new Set(model.weights.map(({ name }) => name)).size).toBe(model.weights.length);
  });

  it("every layer and head has its own projection; a redraw reaches all, and the config tells of it", () => {
    const model = modelOf("positive");
    const first = drawn(model);
    expect(first).toHaveLength(sizes.numLayers * sizes.numHeads);
    const outer = tf.sequential({ layers: [model] });
    outer.compile({ optimizer: "sgd", loss: "meanSquaredError" });
    const callback = redrawEvery(2, outer);
    void callback.onBatchEnd!(0);
    expect(drawn(model)).toEqual(first);
    void callback.onBatchEnd!(1);
    const second = drawn(model);
    for (const [i, projection] of second.entries()) {
      for (const other of [...first, ...second.slice(0, i)])
        expect(relativeError(projection, other)).toBeGreaterThan(0.3);
    }
    const again = performerMaskedLM(model.layers[0]!.getConfig() as unknown as Parameters<typeof performerMaskedLM>[0]);
    expect(drawn(again)).toEqual(second);
  });
});

describe("training a masked language model", () => {
  it("gradients of the encoder equal differences, on cpu", async () => {
    await tf.setBackend("cpu");
    const encoder = { numLayers: 2, modelDim: 8, numHeads: 2, feedForwardDim: 12 };
    for (const [kind, useCausalMask] of [
      ["exact", false],
      ["positive", false],
      ["positive", true],
      ["generalized gelu", true],
    ] as const) {
      const attention = kind === "exact" ? kind : everyMap(4, 8)[kind]!;
      const layer = new PerformerEncoder({ ...encoder, attention, useCausalMask });
      const x = tf.tensor(gaussians(2 * 5 * 8, 4), [2, 5, 8]);
      const mask = tf.tensor2d([
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
      ]);
      const dy = tf.tensor(gaussians(2 * 5 * 8, 5), [2, 5, 8]).mul(mask.expandDims(2));
      layer.build([2, 5, 8]);
      const f = (): tf.Scalar => tf.sum(tf.mul(dy, layer.apply(x, { mask }) as tf.Tensor));
      const variables = layer.trainableWeights.map((weight) => weight.read() as tf.Variable);
      const { grads } = tf.variableGrads(f, variables);
      for (const [i, variable] of variables.entries()) {
        const direction = tf.tensor(gaussians(variable.size, 60 + i), variable.shape);
        const actual = tf.sum(tf.mul(grads[variable.name]!, direction)).dataSync()[0]!;
        const at = (t: number): number => {
          const before = variable.clone();
          variable.assign(tf.add(before, tf.mul(direction, t)));
          const [value] = f().dataSync();
          variable.assign(before);
          return value!;
        };
        // fourth order, so that a step large enough for float32 is small enough for the function
        const step = 2 ** -8;
        const expected = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step);
        expect(Math.abs(actual - expected), `${kind} ${variable.name}`).toBeLessThan(2e-2 + 5e-3 * Math.abs(expected));
      }
    }
  });

  it("the loss is the mean over labelled positions, and does not touch the others", () => {
    const values = tf.tensor(gaussians(2 * 3 * 5, 8), [2, 3, 5]);
    const labels = tf.tensor2d([
      [-1, 4, -1],
      [0, -1, -1],
    ]);
    const rows = tf.logSoftmax(values).arraySync() as number[][][];
    const expected = -(rows[0]![1]![4]! + rows[1]![0]![0]!) / 2;
    expect(maskedCrossEntropy(labels, values).dataSync()[0]).toBeCloseTo(expected, 5);
    const gradient = tf
      .grad((x) => maskedCrossEntropy(labels, x))(values)
      .sum(2)
      .abs()
      .arraySync();
    expect((gradient as number[][]).flat().every((x) => x < 1e-6)).toBe(true);
    const shown = tf
      .grad((x) => maskedCrossEntropy(labels, x))(values)
      .abs()
      .sum(2)
      .greater(0)
      .arraySync();
    expect(shown).toEqual([
      [0, 1, 0],
      [1, 0, 0],
    ]);
    expect(maskedCrossEntropy(tf.neg(tf.ones([2, 3])), values).dataSync()[0]).toBeCloseTo(0, 10);
  });

  it("learns by model.fitDataset to restore hidden tokens of sequences of two tokens by turns", async () => {
    await tf.setBackend("wasm");
    repairBackend();
    const projection = { kind: "orthogonal", count: 64, dim: 8, seed: 2 } as const;
    const attention: FeatureMapDescription = { version: 1, kind: "positive", projection };
    const [length, maskToken] = [8, 1];
    const model = performerMaskedLM({ ...sizes, modelDim: 16, feedForwardDim: 32, numLayers: 1, attention });
    // one token in four hidden
    const batchOf = (step: number): { xs: tf.Tensor; ys: tf.Tensor } => {
      const tokens = Array.from({ length: 16 }, (_, row) =>
        Array.from({ length }, (_unused, i) => 2 + ((row + 5 * step + (i % 2) * (1 + ((row * 7 + step) % 8))) % 9)),
      );
      const hidden = (row: number, i: number): boolean => (row + i + step) % 4 === 0;
      return {
        xs: tf.tensor2d(tokens.map((t, row) => t.map((token, i) => (hidden(row, i) ? maskToken : token)))),
        ys: tf.tensor2d(tokens.map((t, row) => t.map((token, i) => (hidden(row, i) ? token : -1)))),
      };
    };
    const dataset = tf.data.generator(function* () {
      for (let step = 0; step < 150; step++) yield batchOf(step);
    });
    model.compile({ optimizer: tf.train.adam(0.01), loss: maskedCrossEntropy });
    await model.fitDataset(dataset, { epochs: 1, verbose: 0, yieldEvery: "never", callbacks: redrawEvery(60, model) });
    const { xs, ys } = batchOf(1000);
    const loss = maskedCrossEntropy(ys, model.predict(xs) as tf.Tensor).dataSync()[0]!;
    expect(loss).toBeLessThan(0.2 * Math.log(9));
  });
});

describe("maskedLMPresets", () => {
  it("have the sizes of their papers; a model of the tiny one runs", () => {
    const { paper, base, tiny } = maskedLMPresets;
    expect(paper).toMatchObject({ numLayers: 36, modelDim: 512, numHeads: 8, feedForwardDim: 1024 });
    for (const [preset, dim] of [
      [paper, 64],
      [base, 64],
      [tiny, 16],
    ] as const) {
      expect(preset.attention).toMatchObject({ projection: { dim, kind: "orthogonal" } });
      expect(preset.modelDim / preset.numHeads).toBe(dim);
    }
    const model = performerMaskedLM({ ...tiny, vocabularySize: 25, maxLength: 10 });
    expect((model.predict(tf.tensor2d([[1, 2, 3]])) as tf.Tensor).shape).toEqual([1, 3, 25]);
    // 25 x 64 + 10 x 64 + 25, 2 layers of 4 (64^2 + 64) + 2 x 64 x 256 + 256 + 64 + 4 x 64, a norm of 2 x 64
    const trainable = model.trainableWeights.map(({ shape }) => tf.util.sizeFromShape(shape as number[]));
    expect(trainable.reduce((a, b) => a + b)).toBe(35 * 64 + 25 + 2 * (4 * 4160 + 32768 + 320 + 256) + 128);
  });
});

describe("PerformerMaskedLM refuses", () => {
  const attention = everyMap(4, 16)["positive"]!;
  const args = { ...sizes, attention };
  const { vocabularySize: _size, maxLength: _length, ...encoder } = args;
  it.each([
    ["more tokens than positions", () => performerMaskedLM(args).predict(tf.ones([1, 17])), /^inputs: .*maxLength 16/],
    ["embeddings for tokens", () => performerMaskedLM(args).layers[0]!.apply(tf.ones([1, 3, 8])), /^inputs: /],
    ["no vocabulary", () => performerMaskedLM({ ...args, vocabularySize: 0 }), /^vocabularySize: /],
    ["no layers", () => performerMaskedLM({ ...args, numLayers: 0 }), /^numLayers: /],
    ["heads of another size", () => performerMaskedLM({ ...args, numHeads: 4 }), /^attention: .*dim 2/],
    ["heads that do not divide", () => performerMaskedLM({ ...args, numHeads: 3 }), /^modelDim: .*3 heads/],
    ["all dropped", () => performerMaskedLM({ ...args, dropout: 1 }), /^dropout: /],
    ["a newer config", () => performerMaskedLM({ ...args, configVersion: 2 }), /^configVersion: .*newer/],
    ["a newer encoder", () => new PerformerEncoder({ ...encoder, configVersion: 2 }), /^configVersion: .*newer/],
    ["another width", () => new PerformerEncoder(encoder).apply(tf.ones([1, 3, 6])), /^inputs: /],
    ["labels of another shape", () => maskedCrossEntropy(tf.ones([2, 3]), tf.ones([2, 4, 5])), /^labels: /],
    ["logits of rank 2", () => maskedCrossEntropy(tf.ones([2, 3]), tf.ones([2, 3])), /^logits: /],
    [
      "a projection that is not finite",
      () => {
        const model = performerMaskedLM(args);
        const weights = model.getWeights();
        model.setWeights(weights.map((weight, i) => (i === weights.length - 1 ? weight.mul(NaN) : weight)));
      },
      /^projection: expected finite/,
    ],
  ])("%s", async (_name, call, message) => {
    await tf.setBackend("cpu");
    expect(call).toThrow(message);
    expect(call).toThrow(expect.objectContaining({ code: "invalid-argument" }));
  });
});
