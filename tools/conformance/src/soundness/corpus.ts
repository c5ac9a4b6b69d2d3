import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { attachExternalData, createMessage, decodeModel, encodeModel, externalDataFromMemory } from "@favor/onnx";
import type { InferenceSession } from "onnxruntime-node";
import { readNpz, type NpyArray } from "@favor/test-support/zoo/npz";
import { onnxTypes, openSession, tensorOf } from "./runtime.ts";

/** A model of the zoo that attends, with a sample of its inputs. */
export interface Seed {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly sample: ReadonlyMap<string, NpyArray>;
}

/** What is known of a value at the sample's sizes. */
export interface ValueShape {
  readonly dims: readonly number[];
  readonly dataType: number;
  /** Standard deviation of the float32 elements within +-1000, 0 elsewhere. */
  readonly spread?: number;
}

interface ManifestEntry {
  readonly name: string;
  readonly model: string;
  readonly samples: readonly string[];
  readonly attention_count: number;
}

/** The models of a folder with a manifest of which onnxruntime computes the first sample, in the manifest's order. */
export function readSeeds(folder: string): Seed[] {
  const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8")) as ManifestEntry[];
  return manifest
    .filter(({ attention_count: count, samples }) => count > 0 && samples.length > 0)
    .map(({ name, model, samples }) => {
      const arrays = [...readNpz(new Uint8Array(readFileSync(join(folder, samples[0]!))))];
      const inputs = arrays
        .filter(([key]) => key.startsWith("in."))
        .map(([key, array]) => [key.slice(3), array] as const);
      return { name, bytes: readWhole(join(folder, model)), sample: new Map(inputs) };
    });
}

/** A model as one file, its external data taken in. */
function readWhole(path: string): Uint8Array {
  const model = decodeModel(new Uint8Array(readFileSync(path)));
  const data = `${path}.data`;
  if (existsSync(data)) {
    attachExternalData(model, externalDataFromMemory(new Map([[basename(data), new Uint8Array(readFileSync(data))]])));
  }
  return encodeModel(model);
}

/**
 * Size and type of every value of the main graph, as onnxruntime has them: what mutations go by is nothing that Favor
 * inferred.
 */
export async function valueShapes(seed: Seed): Promise<Map<string, ValueShape>> {
  const model = decodeModel(seed.bytes);
  const own = new Set(model.graph.output.map(({ name }) => name));
  for (const name of model.graph.node.flatMap((node) => node.output)) {
    if (name !== "" && !own.has(name)) model.graph.output.push(createMessage("ValueInfoProto", { name }));
  }
  const session: InferenceSession = await openSession(encodeModel(model));
  const feeds = Object.fromEntries([...seed.sample].map(([name, array]) => [name, tensorOf(array)]));
  const outputs = { ...(await session.run(feeds)), ...feeds };
  const shapes = new Map<string, ValueShape>();
  for (const [name, { dims, type, data }] of Object.entries(outputs)) {
    const dataType = onnxTypes.get(type);
    if (dataType === undefined) continue;
    shapes.set(name, { dims, dataType, spread: data instanceof Float32Array ? spreadOf(data) : 0 });
  }
  return shapes;
}

function spreadOf(data: Float32Array): number {
  const inner = data.filter((value) => Math.abs(value) < 1e3);
  const mean = inner.reduce((a, b) => a + b, 0) / inner.length;
  return Math.sqrt(inner.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, inner.length));
}
