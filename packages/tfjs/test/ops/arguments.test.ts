import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { expect, it } from "vitest";
import * as favor from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";

type Call = (...given: unknown[]) => unknown;

const projection = { kind: "orthogonal", count: 8, dim: 4, seed: 1 } as const;
const featureMap = { version: 1, kind: "positive", projection } as const;
const attention = favor.favorAttention as Call;
const softmax = favor.exactAttention as Call;
const causal = favor.causalLinearAttention as Call;

const x = (...shape: number[]): tf.Tensor => tf.ones(shape);

/** The message with which a call is refused, which leaves no tensor: make its own before. */
function refusal(call: () => unknown): string {
  const before = tf.memory().numTensors;
  try {
    call();
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    const left = tf.memory().numTensors - before;
    return left === 0 ? error.message : `${left} tensors are left`;
  }
  return "not refused";
}

// What TypeScript refuses, plain JavaScript may do.
onEveryBackend("plain JavaScript", () => {
  it("names options and tensors that were left out", () => {
    const q = x(1, 2, 3, 4);
    const rows = x(1, 3, 4);
    for (const options of [undefined, null, {}, { featureMap: "positive" }, { featureMap: [null, featureMap] }]) {
      expect(refusal(() => attention(q, q, q, options))).toMatch(
        /^featureMap: expected one such as \{ version: 1, kind: "positive"/,
      );
    }
    expect(refusal(() => attention())).toMatch(/^q: expected a tensor \[batch, heads, length, dim\], found undefined/);
    expect(refusal(() => attention(q, q, undefined, { featureMap }))).toMatch(/^v: expected a tensor/);
    expect(refusal(() => softmax(q, [[[[1, 2, 3, 4]]]], q))).toMatch(/^k: expected a tensor .*, found Array of 1\./);
    expect(refusal(() => causal(rows))).toMatch(/^k: expected a tensor \[groups, length, width\], found undefined/);
    expect(refusal(() => (favor.maskedCrossEntropy as Call)(rows))).toMatch(/^logits: expected a tensor/);
    expect(refusal(() => (favor.redrawProjections as Call)({}))).toMatch(/^model: expected a tf.LayersModel/);
    expect(refusal(() => (favor.redrawEvery as Call)(5))).toMatch(/^model: expected a tf.LayersModel/);
  });

  it("names a tensor that was disposed of", () => {
    const q = x(1, 2, 3, 4);
    const gone = x(1, 2, 3, 4);
    const mask = x(1, 3);
    tf.dispose([gone, mask]);
    expect(refusal(() => attention(q, gone, q, { featureMap }))).toMatch(
      /^k: expected a tensor .*, found "a disposed tensor"/,
    );
    expect(refusal(() => softmax(q, q, q, { mask }))).toMatch(/^mask: .* found "a disposed tensor"/);
    expect(refusal(() => attention(q, q, q, { featureMap, projection: mask }))).toMatch(
      /^projection: .* found "a disposed tensor"/,
    );
    const layer = new favor.FavorAttention({ attention: featureMap });
    layer.build([1, 3, 4]);
    const row = x(1, 3, 4);
    row.dispose();
    expect(refusal(() => layer.call(row))).toMatch(/^query: .* found "a disposed tensor"/);
  });

  it("names a mask that cannot hide keys: one that is added to scores, of texts, no tensor", () => {
    const q = x(1, 2, 3, 4);
    const added = tf.tensor2d([[0, 0, -1e4]]);
    const texts = tf.tensor2d([["a", "b", "c"]]);
    const wrong = tf.tensor2d([[1, NaN, 1]]);
    for (const [call, own] of [
      [attention, { featureMap }],
      [softmax, {}],
    ] as [Call, object][]) {
      expect(refusal(() => call(q, q, q, { ...own, mask: added }))).toMatch(
        /^mask: expected 0 to hide a key, .* found -10000/,
      );
      expect(refusal(() => call(q, q, q, { ...own, mask: wrong }))).toMatch(
        /^mask: expected 0 to hide a key, .* found NaN/,
      );
      expect(refusal(() => call(q, q, q, { ...own, mask: texts }))).toMatch(
        /^mask: expected bool or numbers, found "string"/,
      );
      expect(refusal(() => call(q, q, q, { ...own, mask: [1, 1, 0] }))).toMatch(/^mask: expected a tensor/);
      expect(refusal(() => call(q, q, q, { ...own, scale: "0.5" }))).toMatch(/^scale: expected a finite number/);
    }
  });

  it("names what a feature map lacks or misspells, also where nothing random is drawn", () => {
    const q = x(1, 2, 3, 4);
    const wrong: [object, RegExp][] = [
      [{ version: 1, kind: "positive" }, /^projection: expected an object such as/],
      [{ ...featureMap, kind: "calibrated" }, /^description\.a: expected an array/],
      [{ ...featureMap, kind: "trigonometric" }, /^description\.variant: expected one of phase, pair/],
      [{ ...featureMap, kind: "generalized", function: "constructor" }, /^description\.function: expected one of relu/],
      [{ ...featureMap, kind: "generalized", function: "relu", epsilon: NaN }, /^description\.epsilon: /],
      [{ ...featureMap, projection: { ...projection, count: 0 } }, /^projection\.count: /],
      [{ ...featureMap, version: 9 }, /newer @favor\/core; update/],
    ];
    for (const [description, message] of wrong)
      expect(refusal(() => attention(q, q, q, { featureMap: description }))).toMatch(message);
    expect(refusal(() => attention(q, q, q, { featureMap, projection: [[1]] }))).toMatch(
      /^projection: expected a tensor/,
    );
  });

  it("names a label that is beyond the vocabulary, instead of counting it as learnt", () => {
    const labels = tf.tensor2d([[1, 4]], [1, 2], "int32");
    const logits = x(1, 2, 4);
    expect(refusal(() => favor.maskedCrossEntropy(labels, logits))).toMatch(
      /^labels: expected less than vocabularySize, 4, found 4/,
    );
    expect(favor.maskedCrossEntropy(tf.tensor2d([[1, -1]], [1, 2], "int32"), logits).dataSync()[0]).toBeCloseTo(
      Math.log(4),
      6,
    );
  });

  it("every layer asks for its arguments", () => {
    for (const make of [
      () => new (favor.MultiHeadAttention as never as new () => unknown)(),
      () => new (favor.FavorAttention as never as new () => unknown)(),
      () => new (favor.PerformerEncoderLayer as never as new () => unknown)(),
      () => new (favor.PerformerEncoder as never as new () => unknown)(),
      () => new (favor.PerformerMaskedLM as never as new () => unknown)(),
    ]) {
      expect(refusal(make)).toMatch(/^args: expected an object such as .*, found undefined/);
    }
  });

  it("attention over no rows is no rows, causal too", () => {
    const none = x(1, 2, 0, 4);
    for (const isCausal of [false, true]) {
      expect(favor.favorAttention(none, none, none, { featureMap, causal: isCausal }).shape).toEqual([1, 2, 0, 4]);
    }
  });
});
