import { convertAttention, featureChoices, statefulInputs, type ConvertOptions } from "@favor/rewriter";
import { DataType, makeTensor, type ModelProto } from "@favor/onnx";
import { decodeTensor, evaluateGraph, type Tensor } from "@favor/onnx/evaluate";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import type { ZooEntry } from "@favor/test-support/zoo/manifest";
import { OnnxModel } from "../../src/index.ts";
import { backends } from "@favor/test-support/backends";
import { noise } from "../graphs.ts";
import { coreZoo, isConvertible, readModel, readSample, sharedZoo, type ZooFolder, type ZooSample } from "./samples.ts";

/** Entries that `convertAttention` refuses, as their attention is quantised. */
const refused = /qdq/;
/** Its mask multiplies by the smallest float32 in bfloat16, where that is -Infinity: 0 times it is NaN. */
const faulty = "bert-ts113-eager-op16-bf16";

const entriesOf = (folder: ZooFolder): ZooEntry[] =>
  folder.entries.filter((entry) => isConvertible(entry) && !refused.test(entry.name) && entry.name !== faulty);

function converted(folder: ZooFolder, entry: ZooEntry, options: ConvertOptions): ModelProto {
  return convertAttention(readModel(folder, entry), { count: 16, ...options }).model;
}

/** The outputs by the evaluator of `@favor/onnx`. */
function evaluated(model: ModelProto, { feeds, expected }: ZooSample): Map<string, Tensor> {
  const initializers = new Map(model.graph.initializer.map((tensor) => [tensor.name, tensor]));
  return evaluateGraph(model.graph.node, [...expected.keys()], new Map(Object.entries(feeds)), {
    opsets: new Map(model.opsetImport.map(({ domain, version }) => [domain, version.toNumber()])),
    initializer: (name) => initializers.get(name),
    functions: model.functions,
    limits: { elements: 2 ** 28 },
  });
}

/** Largest difference of two tensors over the largest element of the second. */
function relativeDifference(found: tf.Tensor, expected: Tensor): number {
  expect(found.shape).toEqual([...expected.dims]);
  const values = found.dataSync();
  let [worst, largest] = [0, 0];
  for (const [i, value] of expected.data.entries()) {
    worst = Math.max(worst, Math.abs(values[i]! - value));
    largest = Math.max(largest, Math.abs(value));
  }
  return worst / largest;
}

/** Largest difference of a converted model's outputs from those of the evaluator for another conversion, or its own. */
async function deviation(
  folder: ZooFolder,
  entry: ZooEntry,
  options: ConvertOptions,
  reference: ConvertOptions = options,
): Promise<number> {
  const sample = readSample(folder, entry.samples[0]!);
  const expected = evaluated(converted(folder, entry, reference), sample);
  const model = await OnnxModel.load(converted(folder, entry, options));
  const found = model.run(sample.feeds, { outputs: [...expected.keys()] });
  const differences = [...expected].map(([name, value]) => relativeDifference(found[name]!, value));
  tf.dispose(found);
  model.dispose();
  return Math.max(...differences);
}

/** The same model with each weight a rounding of float32 larger or smaller; constants and masks stay. */
function nudged(model: ModelProto, seed: number): ModelProto {
  const initializer = model.graph.initializer.map((tensor, i) => {
    if (tensor.dataType !== DataType.FLOAT) return tensor;
    const { dims, data } = decodeTensor(tensor);
    if (data.length === 1) return tensor;
    const steps = noise(data.length, seed + i);
    const values = Float32Array.from(data, (x, j) =>
      Math.abs(x) > 1e4 ? x : x * (1 + Math.sign(steps[j]!) * 2 ** -23),
    );
    return makeTensor(tensor.name, dims, DataType.FLOAT, values);
  });
  return { ...model, graph: { ...model.graph, initializer } };
}

/**
 * How far roundings of the weights move the outputs: the condition of a model. Features with signs, such as cosines, have
 * sums near 0 as normalisers, and magnify roundings hundreds of times more than positive ones.
 */
function magnification(folder: ZooFolder, entry: ZooEntry, options: ConvertOptions): number {
  const sample = readSample(folder, entry.samples[0]!);
  const model = converted(folder, entry, options);
  const outputs = evaluated(model, sample);
  const moved = [1, 2].flatMap((seed) =>
    [...evaluated(nudged(model, seed * 1000), sample)].map(([name, { dims, data }]) =>
      tf.tidy(() => relativeDifference(tf.tensor(Float32Array.from(data), [...dims]), outputs.get(name)!)),
    ),
  );
  return Math.max(...moved);
}

async function use(backend: string): Promise<void> {
  await tf.setBackend(backend);
  repairBackend();
}

const named = (name: string): ZooEntry => coreZoo.entries.find((entry) => entry.name === name)!;
const bidirectional = named("bert-ts-eager-op17-dyn");
const causal = named("gpt2-ts113-eager-op14-dyn");
const tolerance = 2e-4;
/** The evaluator rounds to half precision after each node, where tfjs keeps float32. */
const toleranceOf = ({ name }: ZooEntry): number => (/fp16|half/.test(name) ? 5e-3 : tolerance);

describe.each(backends)("converted models on %s give what the evaluator gives", (backend) => {
  beforeAll(() => use(backend));

  // cpu, the slower one, runs each fourth.
  const some = entriesOf(coreZoo).filter((_, i) => backend === "wasm" || i % 4 === 0);
  test.each(some)("$name, positive features", async (entry) => {
    expect(await deviation(coreZoo, entry, {})).toBeLessThan(toleranceOf(entry));
  });

  describe.each(featureChoices)("features %s, but for roundings as its condition magnifies them", (features) => {
    test.each(backend === "wasm" ? [bidirectional, causal] : [bidirectional])("$name", async (entry) => {
      const limit = 8 * magnification(coreZoo, entry, { features });
      expect(limit).toBeLessThan(1e-2);
      expect(await deviation(coreZoo, entry, { features })).toBeLessThan(limit);
    });
  });

  const causalEntries = entriesOf(coreZoo).filter(({ attention }) => attention.some((site) => site.causal === true));
  describe.each(["onnxruntime", "onnx27"] as const)("LinearAttention for %s", (target) => {
    test.each(causalEntries)("$name", async (entry) => {
      // The operator's exponents are bounded, those of standard operators are not: equal where no bound is met.
      expect(await deviation(coreZoo, entry, { target }, { target: "standard" })).toBeLessThan(tolerance);
    });
  });
});

/** Runs a stateful model piece by piece; the first output, put together again. */
function inPieces(model: OnnxModel, proto: ModelProto, tokens: Int32Array, cuts: readonly number[]): tf.Tensor {
  const { states, pastLength } = statefulInputs(proto);
  let past = states.map(({ dims, initial }) => tf.add(tf.zeros([1, ...dims]), initial));
  const name = model.outputs[0]!.name;
  const parts: tf.Tensor[] = [];
  let start = 0;
  for (const length of cuts) {
    const feeds: Parameters<OnnxModel["run"]>[0] = {
      input_ids: { dims: [1, length], data: tokens.subarray(start, start + length) },
      attention_mask: { dims: [1, length], data: new Int32Array(length).fill(1) },
      ...Object.fromEntries(states.map(({ input }, i) => [input, past[i]!])),
      ...(pastLength === undefined ? {} : { [pastLength]: { dims: [], data: [start] } }),
    };
    const outputs = model.run(feeds);
    parts.push(outputs[name]!);
    past = states.map(({ output }) => outputs[output]!);
    start += length;
  }
  return tf.concat(parts, 1);
}

describe.each(backends)("stateful models on %s", (backend) => {
  beforeAll(() => use(backend));

  test.each(["standard", "onnxruntime", "onnx27"] as const)("pieces equal the whole, target %s", async (target) => {
    const tokens = Int32Array.from({ length: 20 }, (_, i) => 3 + ((i * 7) % 25));
    const whole = await OnnxModel.load(converted(coreZoo, causal, { target }));
    const feeds = {
      input_ids: { dims: [1, 20], data: tokens },
      attention_mask: { dims: [1, 20], data: new Int32Array(20).fill(1) },
    };
    const expected = whole.run(feeds)[whole.outputs[0]!.name]!;
    const proto = converted(coreZoo, causal, { target, stateful: true });
    const model = await OnnxModel.load(proto);
    const reference = { dims: expected.shape, dataType: DataType.FLOAT, data: Float32Array.from(expected.dataSync()) };
    for (const cuts of [[7, 1, 12], Array.from({ length: 20 }, () => 1)]) {
      expect(relativeDifference(inPieces(model, proto, tokens, cuts), reference)).toBeLessThan(tolerance);
    }
    whole.dispose();
    model.dispose();
  });
});

const others = entriesOf(sharedZoo).filter((entry) => !entry.core);
describe.skipIf(others.length === 0)("the rest, converted, on wasm (skipped if ../shared/zoo is absent)", () => {
  beforeAll(() => use("wasm"));

  test.each(others)("$name, positive features", async (entry) => {
    expect(await deviation(sharedZoo, entry, {})).toBeLessThan(toleranceOf(entry));
  });
});
