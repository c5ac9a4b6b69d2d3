import { Graph } from "@favor/onnx/graph";
import { openModel } from "@favor/onnx/node";
import type { OpenedModel } from "@favor/onnx/node";
import { OnnxModel } from "@favor/onnx-tfjs";
import * as tf from "@tensorflow/tfjs";
import { loadSequences, loadTokenizer } from "@favor/measure/tokens";
import type { SequenceTokenizer, TokenSequence } from "@favor/measure/tokens";
import { ModelRunner, ordinaryIds } from "@favor/measure";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import { openBackend } from "../../src/backends/open-backend.ts";
import { maskBatch } from "../../src/mlm/masked-batch.ts";
import type { Masking } from "../../src/mlm/masked-batch.ts";
import { MlmStage } from "../../src/mlm/mlm-stage.ts";
import type { MlmOptions } from "../../src/mlm/mlm-stage.ts";
import { Redraw } from "../../src/mlm/redraw.ts";
import { residualBranches } from "../../src/model/residuals.ts";
import { TokenFeeds } from "../../src/model/token-feeds.ts";
import { trainedInitializers } from "../../src/model/trained-part.ts";
import { rowsToChoose } from "../../src/model/vocabulary-product.ts";
import { calibration, tiny } from "@favor/test-support/antibody";
import { calibrated, convertedOnce } from "../converted.ts";

const folder = convertedOnce({ ...calibrated, count: 16 });
const plainFolder = convertedOnce({ count: 16 });

let opened: OpenedModel;
let tokenizer: SequenceTokenizer;
let sequences: readonly TokenSequence[];
let options: MlmOptions;

beforeAll(async () => {
  await openBackend("wasm");
  opened = await openModel(`${await folder()}/onnx/model.onnx`);
  tokenizer = await loadTokenizer(tiny);
  const read = { count: 8, seed: 0, maximumTokens: 24, longer: "cut" as const };
  sequences = (await loadSequences(calibration, tokenizer, read)).sequences;
  const masking: Masking = {
    maskId: tokenizer.maskId!,
    specialIds: tokenizer.specialIds,
    replacements: ordinaryIds(tokenizer),
    seed: 0,
  };
  const rates = { clip: 0.5, decay: 0.1, epsilon: 1e-8, dropout: 0, kl: 0 };
  const none = { teacher: undefined, redraw: undefined };
  const runner = await ModelRunner.open(opened.path, { threads: 1 });
  await runner.close();
  const inputs = { padId: tokenizer.padId, firstPosition: 0, feeding: runner.feeding };
  options = {
    logits: "logits",
    masking,
    inputs,
    longest: undefined,
    batch: 8,
    accumulate: 1,
    train: "all",
    ...rates,
    ...none,
  };
});
afterAll(() => opened.close());

const batch = { step: 0, epoch: 0 };

/** The norm of row m of head 0's projection, stored as [dim, count] = [32, 16]. */
function norm(values: Float32Array, m: number): number {
  return Math.hypot(...Array.from({ length: 32 }, (_, i) => values[i * 16 + m]!));
}

/** Weights of the stage after some steps on the same sequences. */
async function weightsAfter(steps: number, changed: Partial<MlmOptions>): Promise<ReadonlyMap<string, Float32Array>> {
  const stage = await MlmStage.open(opened.model, { ...options, ...changed });
  for (let step = 0; step < steps; step++) await stage.step({ ...batch, step, sequences }, 1e-3);
  const weights = new Map([...(await stage.weights())].map(([name, values]) => [name, values.slice()]));
  await stage.dispose();
  return weights;
}

/** The largest difference of two sets of weights. */
function difference(a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>): number {
  expect([...a.keys()]).toEqual([...b.keys()]);
  let largest = 0;
  for (const [name, values] of a)
    for (const [i, value] of values.entries()) largest = Math.max(largest, Math.abs(value - b.get(name)![i]!));
  return largest;
}

/** The share of weights that differ by a tenth of the learning rate: Adam moves each by about that, whatever its gradient. */
function shareMoved(a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>): number {
  const moved = [...a].flatMap(([name, values]) => [...values].map((value, i) => Math.abs(value - b.get(name)![i]!)));
  return moved.filter((distance) => distance > 1e-4).length / moved.length;
}

describe("an MLM step", () => {
  test("has the loss of all logits where only the masked rows are computed", async () => {
    const graph = Graph.of(opened.model);
    expect(rowsToChoose("logits", graph)).toBe("/cls/predictions/transform/LayerNorm/LayerNormalization_output_0");
    const stage = await MlmStage.open(opened.model, options);
    const { loss, accuracy, tokens } = await stage.step({ ...batch, sequences }, 0);
    await stage.dispose();
    const masked = maskBatch(sequences, 0, options.masking, undefined);
    const model = await OnnxModel.load(opened.model, { trainable: () => false });
    const feeds = new TokenFeeds(model.inputs, options.inputs).of(masked.rows, masked.length);
    const [expected, right] = tf.tidy(() => {
      const logits = model.run(feeds, { outputs: ["logits"] })["logits"]!;
      const rows = tf.gather(tf.reshape(logits, [-1, logits.shape[2]!]), tf.tensor1d(masked.places, "int32"));
      const targets = tf.tensor1d(masked.targets, "int32");
      const picked = tf.sum(tf.mul(tf.logSoftmax(rows), tf.oneHot(targets, rows.shape[1]!)), 1);
      return [
        -tf.mean(picked).dataSync()[0]!,
        tf.mean(tf.cast(tf.equal(tf.argMax(rows, 1), targets), "float32")).dataSync()[0]!,
      ];
    });
    model.dispose();
    expect(loss).toBeCloseTo(expected, 5);
    expect(accuracy).toBeCloseTo(right, 6);
    expect(tokens).toBe(sequences.reduce((sum, { ids }) => sum + ids.length, 0));
  });

  test("is the same in parts, and the same again", async () => {
    const whole = await weightsAfter(2, {});
    expect(difference(await weightsAfter(2, {}), whole)).toBe(0);
    // Adam divides by the size of the gradient: where that is nothing but rounding, parts round otherwise.
    expect(difference(await weightsAfter(2, { accumulate: 3 }), whole)).toBeLessThan(2e-3);
    expect(difference(await weightsAfter(2, { masking: { ...options.masking, seed: 1 } }), whole)).toBeGreaterThan(
      1e-4,
    );
  });

  test("is the same where not even one sequence has room, with the same dropout when values are computed again", async () => {
    const dropout = 0.1;
    const accumulate = sequences.length;
    const whole = await weightsAfter(1, { dropout, accumulate });
    // As many parts all the same: what differs is that they are computed in segments.
    const crammed = { dropout, accumulate: undefined, activationBytes: 1 };
    expect(shareMoved(await weightsAfter(1, crammed), whole)).toBeLessThan(0.01);
    expect(shareMoved(await weightsAfter(1, { dropout: 0, accumulate }), whole)).toBeGreaterThan(0.1);
  });

  test("measures what activations take once, and not where the number of parts is given", async () => {
    const run = vi.spyOn(OnnxModel.prototype, "run");
    const runsOf = async (accumulate: number | undefined): Promise<number[]> => {
      const stage = await MlmStage.open(opened.model, { ...options, accumulate });
      const runs = [];
      for (const step of [0, 1]) {
        run.mockClear();
        await stage.step({ ...batch, step, sequences }, 0);
        runs.push(run.mock.calls.length);
      }
      await stage.dispose();
      return runs;
    };
    try {
      expect(await runsOf(2)).toEqual([2, 2]);
      // On three lengths.
      expect(await runsOf(undefined)).toEqual([3 + 1, 1]);
    } finally {
      run.mockRestore();
    }
  });

  test.each([undefined, 1])("frees everything, with room for %s bytes", async (room) => {
    const before = tf.memory().numTensors;
    const memory = { accumulate: undefined, ...(room !== undefined && { activationBytes: room }) };
    const stage = await MlmStage.open(opened.model, { ...options, dropout: 0.1, ...memory });
    await stage.step({ ...batch, sequences }, 1e-3);
    const during = tf.memory().numTensors;
    await stage.step({ ...batch, step: 1, sequences }, 1e-3);
    expect(tf.memory().numTensors).toBe(during);
    await stage.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("padding changes nothing", async () => {
    const stage = await MlmStage.open(opened.model, options);
    const alone = sequences.slice(0, 1).map((sequence) => ({ ...sequence, ids: sequence.ids.slice(0, 12) }));
    const longer = { ...sequences[1]!, ids: sequences[1]!.ids.filter((id) => options.masking.specialIds.has(id)) };
    const padding = { ...longer, ids: Array.from({ length: 20 }, () => longer.ids[0]!) };
    const { loss } = await stage.step({ ...batch, sequences: alone }, 0);
    // The second row has special tokens alone: nothing in it is masked.
    const padded = await stage.step({ ...batch, sequences: [...alone, padding] }, 0);
    await stage.dispose();
    expect(padded.loss).toBeCloseTo(loss, 5);
  });
});

describe("what is trained", () => {
  test("every weight, the attention's, or the feature maps alone; norms, biases and feature maps do not decay", () => {
    const graph = Graph.of(opened.model);
    const [all, attention, features] = (["all", "attention", "features"] as const).map((part) =>
      trainedInitializers(graph, part),
    ) as [ReadonlyMap<string, boolean>, ReadonlyMap<string, boolean>, ReadonlyMap<string, boolean>];
    const floats = opened.model.graph.initializer.filter(({ dataType, dims }) => dataType === 1 && dims.length > 0);
    expect([...all.keys()]).toEqual(floats.map(({ name }) => name));
    expect([...features.keys()].every((name) => /^favor\/(omega|weight|bias|norm)_/.test(name))).toBe(true);
    expect([...features.values()].some((decays) => decays)).toBe(false);
    expect(all.get("bert.embeddings.word_embeddings.weight")).toBe(true);
    expect(all.get("bert.embeddings.LayerNorm.weight")).toBe(false);
    expect([...all].filter(([, decays]) => decays).every(([name]) => !name.endsWith("bias"))).toBe(true);
    // Weight and bias of query, key, value and output of four layers; calibration wrote those of queries and keys anew.
    const projections = [...attention.keys()].filter((name) => !features.has(name));
    expect(projections.length).toBe(32);
    expect(projections.every((name) => /\.attention\.(self\.\w+|output\.dense)\.bias|^onnx::MatMul_/.test(name))).toBe(
      true,
    );
    expect(attention.size).toBe(features.size + 32);
  });

  test("dropout is at both branches of every layer", () => {
    const branches = residualBranches(Graph.of(opened.model));
    expect(branches.map(({ attends }) => attends)).toEqual([true, false, true, false, true, false, true, false]);
    expect(branches[0]?.value).toBe("/bert/encoder/layer.0/attention/output/dense/Add_output_0");
  });
});

describe("redrawn projections", () => {
  test("are another draw with the same norms, the same for queries and keys, and not trained", async () => {
    const plain = await openModel(`${await plainFolder()}/onnx/model.onnx`);
    try {
      const redraw = new Redraw(plain.model, 3);
      expect(redraw.initializers.length).toBe(8);
      const stage = await MlmStage.open(plain.model, { ...options, redraw });
      await stage.step({ ...batch, sequences }, 1e-3);
      const first = await stage.weights();
      const [query, key] = [first.get("favor/omega_query")!.slice(), first.get("favor/omega_key")!.slice()];
      await stage.step({ ...batch, epoch: 1, sequences }, 1e-3);
      const second = await stage.weights();
      const [newQuery, newKey] = [second.get("favor/omega_query")!, second.get("favor/omega_key")!];
      for (let m = 0; m < 16; m++) expect(norm(newQuery, m)).toBeCloseTo(norm(query, m), 5);
      expect(difference(new Map([["q", newQuery]]), new Map([["q", query]]))).toBeGreaterThan(0.1);
      // Plain positive features of queries and keys have one projection.
      expect(difference(new Map([["q", query]]), new Map([["q", key]]))).toBeLessThan(1e-6);
      expect(difference(new Map([["q", newQuery]]), new Map([["q", newKey]]))).toBeLessThan(1e-6);
      await stage.dispose();
    } finally {
      plain.close();
    }
  });

  test("where the features are fitted to data they are refused", () => {
    expect(() => new Redraw(opened.model, 0)).toThrow(/fitted to data.*--redraw|--redraw.*fitted to data/);
  });
});
