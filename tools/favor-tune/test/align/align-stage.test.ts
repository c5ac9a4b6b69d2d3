import { join } from "node:path";

import { Graph } from "@favor/onnx/graph";
import { openModel, writeModel } from "@favor/onnx/node";
import type { OpenedModel } from "@favor/onnx/node";
import { normaliseModel } from "@favor/rewriter";
import { loadSequences, loadTokenizer } from "@favor/measure/tokens";
import type { TokenSequence } from "@favor/measure/tokens";
import { ModelRunner } from "@favor/measure";
import { calibration, tiny } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { afterAll, beforeAll, expect, test } from "vitest";

import { AlignStage } from "../../src/align/align-stage.ts";
import type { AlignOptions } from "../../src/align/align-stage.ts";
import { AlignmentTeacher } from "../../src/align/alignment-teacher.ts";
import { hiddenStates } from "../../src/align/hidden-states.ts";
import { openBackend } from "../../src/backends/open-backend.ts";
import { modelOf } from "../../src/model/model-of.ts";
import { convertedOnce } from "../converted.ts";

const folder = convertedOnce({ count: 16 });
const ordinaryId = 7;
let converted: OpenedModel;
let original: OpenedModel;
let sequences: readonly TokenSequence[];
let runner: ModelRunner;

beforeAll(async () => {
  await openBackend("wasm");
  converted = await openModel(`${await folder()}/onnx/model.onnx`);
  original = await openModel(join(tiny, "onnx", "model.onnx"));
  const read = { count: 4, seed: 0, maximumTokens: 24, longer: "cut" as const };
  const all = (await loadSequences(calibration, await loadTokenizer(tiny), read)).sequences;
  // One is shorter, so that there is padding.
  sequences = all.map((sequence, i) => (i === 2 ? { ...sequence, ids: sequence.ids.slice(0, 17) } : sequence));
  runner = await ModelRunner.open(original.path, { threads: 1 });
});
afterAll(async () => {
  converted.close();
  original.close();
  await runner.close();
});

async function stageOf(changed: Partial<AlignOptions> = {}): Promise<AlignStage> {
  const teacher = await AlignmentTeacher.open({
    original: original.model,
    converted: converted.model,
    measure: { kind: "masked-language", output: "logits" },
    scratch: await temporaryFolder(),
    feeding: runner.feeding,
    threads: 1,
    ordinaryId,
  });
  expect(teacher.states).toHaveLength(4);
  expect(teacher.outputs).toHaveLength(1);
  return AlignStage.open(converted.model, {
    teacher,
    inputs: { padId: 0, firstPosition: 0, feeding: runner.feeding },
    pooling: undefined,
    rowsOf: ({ sequences: all }) => all.map(({ ids }) => ids),
    layerSteps: 0,
    longest: undefined,
    accumulate: 1,
    train: "all",
    clip: 0.5,
    epsilon: 1e-8,
    ordinaryId,
    ...changed,
  });
}

/** Values of a model in onnxruntime at the tokens of each sequence: one float64 array a token. */
async function vectorsOf({ model }: OpenedModel, names: readonly string[]): Promise<Map<string, Float64Array[]>> {
  const path = join(await temporaryFolder(), "tapped.onnx");
  await writeModel(modelOf(names, { model, graph: Graph.of(model) }), path);
  const tapped = await ModelRunner.open(path, { threads: 1, feeding: runner.feeding });
  const found = new Map<string, Float64Array[]>(names.map((name) => [name, []]));
  for (const { ids } of sequences) {
    const values = await tapped.runAll([ids], names);
    for (const name of names) {
      const data = values[name]!.data as Float32Array;
      const width = data.length / ids.length;
      for (const [at] of ids.entries()) {
        found.get(name)!.push(Float64Array.from(data.subarray(at * width, (at + 1) * width)));
      }
    }
  }
  await tapped.close();
  return found;
}

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

function distance(found: readonly Float64Array[], wanted: readonly Float64Array[]): number {
  let [apart, error, size] = [0, 0, 0];
  for (const [i, y] of found.entries()) {
    const t = wanted[i]!;
    apart += 1 - dot(y, t) / Math.sqrt(dot(y, y) * dot(t, t));
    error += y.reduce((sum, value, j) => sum + (value - t[j]!) ** 2, 0);
    size += dot(t, t);
  }
  return apart / found.length + error / size;
}

test("a hidden state per layer: the sums that later layers begin with", () => {
  const { model } = normaliseModel(original.model);
  const states = hiddenStates(Graph.of(model), Graph.of(converted.model));
  expect(states).toEqual([0, 1, 2, 3].map((layer) => `/bert/encoder/layer.${layer}/output/Add_output_0`));
});

test("the loss is that of hidden states and outputs in onnxruntime, in parts too", async () => {
  const head = "/cls/predictions/transform/LayerNorm/LayerNormalization_output_0";
  const states = [0, 1, 2, 3].map((layer) => `/bert/encoder/layer.${layer}/output/Add_output_0`);
  const [wanted, found] = [await vectorsOf(original, [...states, head]), await vectorsOf(converted, [...states, head])];
  const distances = [...states, head].map((name) => distance(found.get(name)!, wanted.get(name)!));
  const expected = distances.slice(0, 4).reduce((sum, value) => sum + value / 4, distances[4]!);
  for (const accumulate of [1, 3]) {
    const stage = await stageOf({ accumulate });
    const { loss, tokens } = await stage.step({ step: 0, epoch: 0, sequences }, 0);
    await stage.dispose();
    // The error is relative to the vectors of its part.
    expect(Math.abs(loss / expected - 1)).toBeLessThan(accumulate === 1 ? 1e-4 : 0.02);
    expect(tokens).toBe(sequences.reduce((sum, { ids }) => sum + ids.length, 0));
  }
});

test("layers learn alone, then together: both losses fall, and a restored stage goes on to the same weights", async () => {
  const options = { layerSteps: 3 } as const;
  const stage = await stageOf(options);
  const losses: number[] = [];
  let state: ReadonlyMap<string, Float32Array> | undefined;
  for (let step = 0; step < 6; step++) {
    if (step === 4) state = new Map([...(await stage.state())].map(([name, values]) => [name, values.slice()]));
    losses.push((await stage.step({ step, epoch: 0, sequences }, 1e-3)).loss);
  }
  expect(losses[2]).toBeLessThan(0.9 * losses[0]!);
  expect(losses[5]).toBeLessThan(0.95 * losses[3]!);
  const other = await stageOf(options);
  await other.restore(state!);
  for (let step = 4; step < 6; step++) await other.step({ step, epoch: 0, sequences }, 1e-3);
  const [one, two] = [await stage.weights(), await other.weights()];
  expect([...two.keys()]).toEqual([...one.keys()]);
  for (const [name, values] of one) expect(two.get(name)).toEqual(values);
  await stage.dispose();
  await other.dispose();
});

test("--train attention leaves embeddings, feed-forward layers and the head as they are", async () => {
  const stage = await stageOf({ train: "attention", layerSteps: 1 });
  await stage.step({ step: 0, epoch: 0, sequences }, 1e-3);
  const names = [...(await stage.weights()).keys()];
  await stage.dispose();
  expect(names.some((name) => name.startsWith("favor/"))).toBe(true);
  expect(names.some((name) => /embeddings|intermediate|cls/.test(name))).toBe(false);
});
