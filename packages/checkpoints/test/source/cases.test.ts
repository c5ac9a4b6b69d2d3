import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";

import { DataType, encodeModel } from "@favor/onnx";
import { readNpz } from "@favor/test-support/zoo/npz";

import { openSourceModel } from "../../src/source/open-source-model.ts";
import { openSource } from "../../src/source/source.ts";

/** Checkpoints as people have them, each with inputs and what transformers computes from them (README.md in each). */
const folderOf = (name: string): string => fileURLToPath(new URL(`cases/${name}`, import.meta.url));

interface Outcome {
  readonly largest: number;
  readonly modelName: string;
  readonly notes: readonly string[];
}

async function outcomeOf(name: string): Promise<Outcome> {
  const source = await openSource(folderOf(name));
  const opened = await openSourceModel(source);
  const session = await InferenceSession.create(encodeModel(opened.model), { logSeverityLevel: 3 });
  opened.close();
  const arrays = readNpz(new Uint8Array(readFileSync(`${folderOf(name)}/expected.npz`)));
  const numbers = (key: string): BigInt64Array | Float32Array => {
    const { dataType, bytes } = arrays.get(key)!;
    const buffer = bytes.slice().buffer as ArrayBuffer;
    return dataType === DataType.FLOAT ? new Float32Array(buffer) : new BigInt64Array(buffer);
  };
  const { dims } = arrays.get("input_ids")!;
  const feeds = session.inputNames.map((input): [string, Tensor] => {
    const data = arrays.has(input) ? numbers(input) : new BigInt64Array(dims[0]! * dims[1]!);
    return [input, new Tensor("int64", data, [...dims])];
  });
  const { [session.outputNames[0]!]: found } = await session.run(Object.fromEntries(feeds));
  const [expected, mask] = [numbers("output") as Float32Array, numbers("attention_mask")];
  expect(found!.dims).toEqual(arrays.get("output")!.dims);
  const width = found!.dims.length === 3 ? found!.dims[2]! : Infinity;
  let largest = 0;
  expected.forEach((value, index) => {
    if (width !== Infinity && Number(mask[Math.floor(index / width)]) === 0) return;
    largest = Math.max(largest, Math.abs(value - (found!.data[index] as number)));
  });
  return { largest, modelName: source.modelName, notes: opened.notes };
}

describe("checkpoints as people have them", () => {
  it("a classifier whose config.json names no architectures keeps its classifier, with a note", async () => {
    const { largest, notes } = await outcomeOf("classifier-without-architectures");
    expect(largest).toBeLessThan(1e-4);
    expect(notes).toEqual([expect.stringMatching(/names no architectures.*text-classification.*--task/) as string]);
  });

  it("DistilBERT's settings count under their common names", async () => {
    const { largest, notes } = await outcomeOf("distilbert-common-keys");
    expect([largest < 1e-4, notes]).toEqual([true, []]);
  });

  it("an index may name a tied weight that no file has", async () => {
    const { largest, notes } = await outcomeOf("index-names-tied-weight");
    expect([largest < 1e-4, notes]).toEqual([true, []]);
  });

  it("a bare encoder under a masked class gives its hidden states, with a note", async () => {
    const { largest, notes } = await outcomeOf("masked-config-bare-encoder");
    expect(largest).toBeLessThan(1e-4);
    expect(notes).toEqual([expect.stringMatching(/RobertaForMaskedLM.*no head.*last hidden state/) as string]);
  });

  it("weights go before a quantised export", async () => {
    const { largest, modelName } = await outcomeOf("quantised-export-beside-weights");
    expect([largest < 1e-4, modelName]).toEqual([true, "model.safetensors"]);
  });

  it("uses the decoder in the file, even where the flag ties it, and says so", async () => {
    const { largest, notes } = await outcomeOf("tied-flag-untied-weights");
    expect(largest).toBeLessThan(1e-4);
    expect(notes).toEqual([expect.stringMatching(/cls\.predictions\.decoder\.weight and bert\.embeddings/) as string]);
  });
});
