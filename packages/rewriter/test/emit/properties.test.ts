import { RandomStream, streamPurpose } from "@favor/core";
import type { InferenceSession } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { decodeModel } from "@favor/onnx";
import { encodeModel } from "@favor/onnx";
import { DataType, type ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { makeTensor, tensorValues } from "@favor/onnx";
import type { ConvertOptions } from "../../src/options.ts";
import { floatOutputs, openSession } from "@favor/test-support/onnxruntime";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";
import { attentionModel, openAttention, runAttention, type AttentionInputs } from "./attention-model.ts";
import { randomInputs } from "./reference.ts";
import { pieceFeeds, type Sequence } from "../stateful/running-pieces.ts";

const random = new RandomStream({ seed: 5, purpose: streamPurpose.sampling });
const integer = (from: number, to: number): number => from + Math.floor(random.uniform() * (to - from + 1));
const tokensOf = (count: number): number[] => Array.from({ length: count }, () => integer(4, 28));

const load = (name: string): ModelProto => decodeModel(sharedZoo.read(`${name}.onnx`));
const open = (model: ModelProto, options: ConvertOptions): Promise<InferenceSession> =>
  openSession(encodeModel(convertAttention(model, { count: 32, ...options }).model));

interface Rows {
  /** Numbers for each position. */
  readonly width: number;
  /** [batch, length, width] */
  readonly values: Float32Array;
}

/** The first output of a language model. */
async function run(session: InferenceSession, sequence: Sequence): Promise<Rows> {
  const outputs = await floatOutputs(session, pieceFeeds(session, sequence, 0, sequence.length));
  const values = outputs.get(session.outputNames[0]!)!;
  return { width: values.length / sequence.batch / sequence.length, values };
}

/** The largest difference over the first `count` numbers, relative to the largest of them. */
function difference(a: Float32Array, b: Float32Array, count: number = a.length): number {
  let [most, largest] = [0, 0];
  for (let i = 0; i < count; i++) {
    const apart = Math.abs(a[i]! - b[i]!);
    if (!(apart <= most)) most = apart;
    largest = Math.max(largest, Math.abs(a[i]!));
  }
  return most / largest;
}

const causal = ["gpt2-ts-eager-op14-dyn", "llama-dy-sdpa-op18-dyn"];
const padded = ["bert-ts-eager-op14-dyn", "albert-dy-sdpa-op18-dyn", "distilbert-optimum", ...causal];
/** [options, how far float32 may be off] */
const variants: readonly [string, ConvertOptions][] = [
  ["positive", {}],
  ["relu", { features: "relu" }],
  ["trigonometric", { features: "trigonometric" }],
  ["onnxruntime", { target: "onnxruntime" }],
];

describe.skipIf(!hasSharedZoo)("converted models (skipped if ../shared/zoo is absent)", () => {
  describe.each(variants)("%s", (features, options) => {
    // A normaliser that passes through 0 makes much of rounding.
    const tolerance = features === "trigonometric" ? 1e-2 : 1e-4;

    test.each(padded)("%s: padding that is appended changes nothing", async (name) => {
      const session = await open(load(name), options);
      for (let trial = 0; trial < 4; trial++) {
        const [length, extra] = [integer(1, 30), integer(1, 25)];
        const tokens = tokensOf(length);
        const { width, values } = await run(session, { batch: 1, length, tokens });
        const longer = await run(session, {
          batch: 1,
          length: length + extra,
          tokens: [...tokens, ...tokensOf(extra)],
          mask: Array.from({ length: length + extra }, (_, i) => Number(i < length)),
        });
        expect(difference(values, longer.values, length * width)).toBeLessThan(tolerance);
      }
    });

    test.each(padded)("%s: a row of a batch is what it is alone", async (name) => {
      const session = await open(load(name), options);
      const length = integer(8, 30);
      const rows = [tokensOf(length), tokensOf(length), tokensOf(length)];
      const batch = await run(session, { batch: 3, length, tokens: rows.flat() });
      for (const [row, tokens] of rows.entries()) {
        const alone = await run(session, { batch: 1, length, tokens });
        const size = alone.values.length;
        expect(difference(alone.values, batch.values.subarray(row * size, (row + 1) * size))).toBeLessThan(tolerance);
      }
    });

    test.each(causal)("%s: a change never moves an earlier output, to the bit", async (name) => {
      const session = await open(load(name), options);
      for (let trial = 0; trial < 4; trial++) {
        const [length, at] = [integer(20, 60), integer(1, 19)];
        const tokens = tokensOf(length);
        const changed = tokens.with(at, tokens[at] === 9 ? 10 : 9);
        // What is hidden at the start must not be seen either.
        const mask = tokens.map((_, i) => Number(trial < 2 || i >= 3));
        const one = await run(session, { batch: 1, length, tokens, mask });
        const two = await run(session, { batch: 1, length, tokens: changed, mask });
        const { width } = one;
        expect(two.values.subarray(0, at * width)).toEqual(one.values.subarray(0, at * width));
        expect(two.values.subarray(at * width)).not.toEqual(one.values.subarray(at * width));
      }
    });

    test.each(padded)("%s: sequences of nothing but padding, and of one token, are finite", async (name) => {
      const session = await open(load(name), options);
      const tokens = tokensOf(24);
      const mask = tokens.map((_, i) => Number(i >= 12));
      const { values } = await run(session, { batch: 2, length: 12, tokens, mask });
      expect(values.every(Number.isFinite)).toBe(true);
      const alone = await run(session, { batch: 1, length: 12, tokens: tokens.slice(12) });
      expect(difference(alone.values, values.subarray(values.length / 2))).toBeLessThan(tolerance);
      const single = await run(session, { batch: 2, length: 1, tokens: tokens.slice(0, 2) });
      expect(single.values.every(Number.isFinite)).toBe(true);
    });

    test.each([1e-3, 30])("weights times %s: outputs are finite", async (scale) => {
      for (const name of ["bert-ts-eager-op14-dyn", "gpt2-ts-eager-op14-dyn"]) {
        const session = await open(scaleMatrices(load(name), scale), options);
        const mask = Array.from({ length: 80 }, (_, i) => Number(i % 40 < 33));
        const { values } = await run(session, { batch: 2, length: 40, tokens: tokensOf(80), mask });
        expect(values.every(Number.isFinite)).toBe(true);
      }
    });
  });

  test.each(["distilbert-ts-eager-op14-fp16", "bert-dy-eager-op18-half"])("%s: half precision", async (name) => {
    const tokens = tokensOf(40);
    const mask = tokens.map((_, i) => Number(i % 20 < 14));
    const given = { batch: 2, length: 20, tokens, mask };
    const original = await run(await openSession(sharedZoo.read(`${name}.onnx`)), given);
    const exact = await run(await open(load(name), { features: "exact" }), given);
    // Hidden positions have outputs too, which differ: only the others count.
    for (const row of [0, 1]) {
      const part = ({ values, width }: Rows) => values.subarray(row * 20 * width, (row * 20 + 14) * width);
      expect(difference(part(original), part(exact))).toBeLessThan(1e-2);
    }
    for (const features of ["positive", "relu"] as const) {
      const session = await open(load(name), { features });
      const { values, width } = await run(session, given);
      expect(values.every(Number.isFinite)).toBe(true);
      const alone = await run(session, { batch: 1, length: 14, tokens: tokens.slice(0, 14) });
      expect(difference(alone.values, values, 14 * width)).toBeLessThan(1e-2);
    }
  });

  test.each([
    ["bert-ts-eager-op14-dyn", {}],
    ["bert-ts-eager-op14-dyn", { features: "elu" }],
    ["gpt2-ts-eager-op14-dyn", {}],
    ["gpt2-ts-eager-op14-dyn", { target: "onnxruntime" }],
    ["llama-dy-sdpa-op18-dyn", { features: "relu" }],
  ] as const)("%s %j: no tensor is quadratic in the length", async (name, options) => {
    const { model } = convertAttention(load(name), { count: 32, maxLength: 300, ...options });
    const session = await openSession(encodeModel(everyOutput(model)));
    const sizes: Map<string, number>[] = [];
    for (const length of [128, 256]) {
      const outputs = await session.run(pieceFeeds(session, { batch: 1, length, tokens: tokensOf(length) }, 0, length));
      sizes.push(new Map(Object.entries(outputs).map(([value, tensor]) => [value, tensor.size])));
    }
    const [short, long] = sizes as [Map<string, number>, Map<string, number>];
    expect(short.size).toBeGreaterThan(50);
    const quadratic = [...short].filter(([value, size]) => long.get(value)! > 2.01 * size && size > 1);
    expect(quadratic).toEqual([]);
  });
});

test("an encoder without positions: permuted inputs give permuted outputs", async () => {
  const shape = { heads: 2, dim: 8 };
  const length = 17;
  for (const features of ["positive", "elu", "exp"] as const) {
    const { model } = convertAttention(attentionModel(shape), { features, count: 32, cross: true });
    const session = await openAttention(model);
    const inputs = randomInputs(shape, 1, length);
    const order = Array.from({ length }, (_, i) => (i * 5 + 3) % length);
    const permuted = (values: Float32Array): Float32Array =>
      values.map((_, i) => values[Math.floor(i / 136) * 136 + order[Math.floor((i % 136) / 8)]! * 8 + (i % 8)]!);
    const moved: AttentionInputs = {
      ...inputs,
      query: permuted(inputs.query),
      key: permuted(inputs.key),
      value: permuted(inputs.value),
    };
    const out = await runAttention(session, shape, inputs);
    expect(difference(permuted(out), await runAttention(session, shape, moved))).toBeLessThan(1e-5);
    expect(difference(out, await runAttention(session, shape, moved))).toBeGreaterThan(0.1);
  }
});

test.each(["positive", "relu", "exp", "elu", "squared-relu", "oprf"] as const)(
  "%s: queries and keys of any size give finite averages of the values",
  async (features) => {
    const shape = { heads: 2, dim: 8, padding: true };
    for (const causalToo of [false, true]) {
      const kind = { ...shape, causal: causalToo };
      const session = await openAttention(convertAttention(attentionModel(kind), { features, cross: true }).model);
      for (const scale of [1e-4, 30, 1000]) {
        const inputs = randomInputs(kind, 2, 70, scale);
        const mask = Float32Array.from({ length: 140 }, (_, i) => Number(i < 60));
        const key = inputs.key.map((value) => value * scale);
        const out = await runAttention(session, kind, { ...inputs, key, mask });
        const largest = inputs.value.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        expect(out.every((value) => Math.abs(value) <= largest * 1.001)).toBe(true);
      }
    }
  },
);

/** Multiplies every matrix of a model. */
function scaleMatrices(model: ModelProto, scale: number): ModelProto {
  model.graph.initializer = model.graph.initializer.map((tensor) => {
    if (tensor.dataType !== DataType.FLOAT || tensor.dims.length !== 2) return tensor;
    const { dims, data } = tensorValues(tensor);
    return makeTensor(
      tensor.name,
      dims,
      DataType.FLOAT,
      (data as Float32Array).map((value) => value * scale),
    );
  });
  return model;
}

/** Makes every value an output. */
function everyOutput(model: ModelProto): ModelProto {
  const have = new Set(model.graph.output.map(({ name }) => name));
  for (const { output } of model.graph.node) {
    for (const name of output)
      if (name !== "" && !have.has(name)) model.graph.output.push(createMessage("ValueInfoProto", { name }));
  }
  return model;
}
