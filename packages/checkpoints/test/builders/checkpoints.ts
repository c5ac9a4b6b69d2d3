import { readdirSync, readFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { encodeModel, memoryRange, readRange, tensorValues, createMessage } from "@favor/onnx";
import { buildModel, type BuildOptions } from "../../src/builders/build-model.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import type { CheckpointTensor, StateDict } from "../../src/formats/state-dict.ts";
import type { ModelProto } from "@favor/onnx";
import Long from "long";

const fixtures = new URL("fixtures/", import.meta.url);

/** Every case of tools/conformance/python/checkpoints/make_architectures.py. */
export const cases: readonly string[] = readdirSync(fixtures).toSorted();

/** The parsed configuration of a case, with `changes`; undefined takes a value away. */
export function readConfiguration(name: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  const text = readFileSync(new URL(`${name}/config.json`, fixtures), "utf8");
  return { ...(JSON.parse(text) as Record<string, unknown>), ...changes };
}

export function fixturePath(name: string): URL {
  return new URL(`${name}/`, fixtures);
}

export function readTensors(url: URL): StateDict {
  return readSafetensors(memoryRange(new Uint8Array(readFileSync(url))));
}

export function readWeights(name: string): StateDict {
  return readTensors(new URL(`${name}/model.safetensors`, fixtures));
}

/** The values of a checkpoint's tensor as numbers. */
export function valuesOf(tensor: CheckpointTensor): number[] {
  const { dataType, dims, range } = tensor;
  const proto = createMessage("TensorProto", {
    dataType,
    dims: dims.map((dim) => Long.fromNumber(dim)),
    rawData: readRange(range),
  });
  return Array.from(tensorValues(proto).data as ArrayLike<number | bigint>, Number);
}

/** Inputs that are kept with the outputs that PyTorch gave for them, and which tokens are no padding. */
export interface Sample {
  readonly inputs: ReadonlyMap<string, CheckpointTensor>;
  readonly output: { readonly name: string; readonly dims: readonly number[]; readonly values: number[] };
  readonly mask: readonly number[];
}

export function readSample(name: string): Sample {
  return sampleOf(readTensors(new URL(`${name}/sample.safetensors`, fixtures)));
}

export function sampleOf(tensors: StateDict): Sample {
  const inputs = new Map(
    [...tensors].filter(([key]) => key.startsWith("in.")).map(([key, value]) => [key.slice(3), value]),
  );
  const [key, tensor] = [...tensors].find(([name]) => name.startsWith("out."))!;
  const output = { name: key.slice(4), dims: tensor.dims, values: valuesOf(tensor) };
  return { inputs, output, mask: valuesOf(inputs.get("attention_mask")!) };
}

/** The graph of a checkpoint, without the notes. */
export function modelOf(config: unknown, weights: StateDict, options?: BuildOptions): ModelProto {
  return buildModel(config, weights, options).model;
}

/** Opens a model as onnxruntime optimises it for use. */
export function openInRuntime(model: ModelProto): Promise<InferenceSession> {
  return InferenceSession.create(encodeModel(model), { logSeverityLevel: 3, intraOpNumThreads: 1 });
}

/** Runs a model on a sample's inputs, of which it takes those that it knows. */
export async function runSample(session: InferenceSession, { inputs }: Sample): Promise<Record<string, Tensor>> {
  const feeds = session.inputNames.map((name): [string, Tensor] => {
    const { dims, range } = inputs.get(name)!;
    return [name, new Tensor("int64", new BigInt64Array(readRange(range).buffer as ArrayBuffer), [...dims])];
  });
  return (await session.run(Object.fromEntries(feeds))) as Record<string, Tensor>;
}

/**
 * The largest difference of a run from the sample's output, at tokens that are no padding; infinite where names or
 * shapes differ or a value is no number.
 */
export function largestDifference(outputs: Record<string, Tensor>, { output, mask }: Sample): number {
  const found = outputs[output.name];
  if (found === undefined || found.dims.join() !== output.dims.join()) return Infinity;
  const perToken = output.dims.length === 3;
  const width = output.dims.at(-1)!;
  let largest = 0;
  output.values.forEach((expected, index) => {
    if (perToken && mask[Math.floor(index / width)] === 0) return;
    const difference = Math.abs((found.data[index] as number) - expected);
    largest = Math.max(largest, Number.isNaN(difference) ? Infinity : difference);
  });
  return largest;
}
