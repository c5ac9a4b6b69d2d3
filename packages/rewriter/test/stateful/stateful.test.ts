import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { type Conversion } from "../../src/convert.ts";
import { statefulInputs } from "../../src/stateful/state.ts";
import { decodeModel } from "@favor/onnx";
import { encodeModel } from "@favor/onnx";
import type { ConvertOptions } from "../../src/options.ts";
import { openSession } from "@favor/test-support/onnxruntime";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";
import { pieceFeeds, runPieces, type Sequence } from "./running-pieces.ts";

const convertZoo = (name: string, options: ConvertOptions = {}): Conversion =>
  convertAttention(decodeModel(sharedZoo.read(`${name}.onnx`)), { count: 32, ...options });

/** The largest difference of two arrays over the largest of the first. */
function relativeDifference(expected: Float32Array, found: Float32Array): number {
  expect(found.length).toBe(expected.length);
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return expected.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i]!)), 0) / largest;
}

const sequence: Sequence = {
  batch: 2,
  length: 20,
  tokens: Array.from({ length: 40 }, (_, i) => 3 + ((i * 7) % 25)),
};
/** Token by token, in pieces, and all at once. */
const cuts = [Array.from({ length: 20 }, () => 1), [7, 1, 12], [20]];

const causal = [
  "gpt2-ts113-eager-op14-dyn",
  "gpt2-dy-sdpa-op18-dyn",
  "llama-dy-sdpa-op18-dyn",
  "llama-optimum",
  "gpt_neox-ts-eager-op14-dyn",
  "hand_nanogpt-ts-op17-dyn",
  "kmha_causal-kerastf",
  "attop23-causal",
  "nnenc_causal-dy-op18-dyn",
  "gpt2-ortfuse",
  "bloom-dy-eager-op18-dyn",
];

/** Runs a model of the zoo whole and stateful; the largest difference over all ways to cut the sequence. */
async function differenceInPieces(name: string, options: ConvertOptions, given: Sequence): Promise<number> {
  const whole = await openSession(encodeModel(convertZoo(name, options).model));
  const full = await whole.run(pieceFeeds(whole, given, 0, given.length));
  const expected = full[whole.outputNames[0]!]!.data as Float32Array;
  const { model } = convertZoo(name, { ...options, stateful: true });
  const session = await openSession(encodeModel(model));
  const differences: number[] = [];
  for (const pieces of cuts) {
    differences.push(relativeDifference(expected, await runPieces(session, model, given, pieces)));
  }
  return Math.max(...differences);
}

describe.skipIf(!hasSharedZoo)("feeding in pieces (skipped if ../shared/zoo is absent)", () => {
  describe.each(["standard", "onnxruntime"] as const)("target %s", (target) => {
    test.each(causal)("%s equals the full pass", async (name) => {
      expect(await differenceInPieces(name, { target }, sequence)).toBeLessThan(1e-4);
    });

    test("padding in the mask of each piece", async () => {
      // The first row begins with padding, longer than the first pieces; the second ends with it.
      const mask = sequence.tokens.map((_, i) => Number(i >= 9 && i < 34));
      for (const name of ["llama-dy-sdpa-op18-dyn", "bloom-dy-eager-op18-dyn"]) {
        expect(await differenceInPieces(name, { target }, { ...sequence, mask })).toBeLessThan(1e-4);
      }
    });

    test("features with weights per key and without", async () => {
      for (const features of ["relu", "exp", "oprf", "elu"] as const) {
        expect(await differenceInPieces("hand_nanogpt-ts-op17-dyn", { target, features }, sequence)).toBeLessThan(1e-4);
      }
    });
  });

  test("a table grown for longer inputs goes on as well", async () => {
    const long = { ...sequence, length: 80, tokens: Array.from({ length: 160 }, (_, i) => 3 + ((i * 7) % 25)) };
    const options = { maxLength: 100 };
    const whole = await openSession(encodeModel(convertZoo("hand_nanogpt-ts-op17-dyn", options).model));
    const full = await whole.run(pieceFeeds(whole, long, 0, 80));
    const { model } = convertZoo("hand_nanogpt-ts-op17-dyn", { ...options, stateful: true });
    const found = await runPieces(await openSession(encodeModel(model)), model, long, [50, 30]);
    expect(relativeDifference(full[whole.outputNames[0]!]!.data as Float32Array, found)).toBeLessThan(1e-4);
  });

  test("states are described", () => {
    const { model, sites } = convertZoo("gpt2-ts113-eager-op14-dyn", { stateful: true });
    const { heads, headDim } = sites[0]!;
    const { states, pastLength } = statefulInputs(model);
    expect(pastLength).toBe("favor_past_length");
    expect(states.slice(0, 2)).toEqual([
      { input: "favor_past.0.sums", output: "favor_present.0.sums", dims: [heads, 32, headDim + 1], initial: 0 },
      { input: "favor_past.0.log_scale", output: "favor_present.0.log_scale", dims: [heads, 1, 1], initial: -1e30 },
    ]);
    expect(states).toHaveLength(4);
    const plain = convertZoo("gpt2-ts113-eager-op14-dyn").model;
    expect(statefulInputs(plain)).toEqual({ states: [], pastLength: undefined });
    // Positions come from the caller: nothing counts.
    const given = convertZoo("llama-optimum", { stateful: true }).model;
    expect(statefulInputs(given).pastLength).toBeUndefined();
  });

  test.each([
    ["bert-ts-eager-op14-dyn", {}, /attention 0, ".*", is not causal/],
    ["gpt2-ts-eager-op14-dyn", { keep: [1] }, /attention 1, ".*", stays softmax \(kept\)/],
    ["clip_text-ts-eager-op14-dyn", {}, /ArgMax ".*" computes over the positions/],
  ] as const)("%s is refused", (name, options, message) => {
    expect(() => convertZoo(name, { ...options, stateful: true })).toThrow(
      expect.objectContaining({ code: "cannot-be-stateful", message: expect.stringMatching(message) }),
    );
  });

  test("softmax again carries no state", () => {
    expect(() => convertZoo("gpt2-ts-eager-op14-dyn", { stateful: true, features: "exact" })).toThrow(
      /linear attention/,
    );
  });
});
