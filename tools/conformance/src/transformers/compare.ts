import { InferenceSession, Tensor } from "onnxruntime-node";
import { join } from "node:path";
import { FavorError } from "@favor/core";
import { readSafetensors } from "@favor/checkpoints";
import type { StateDict } from "@favor/checkpoints";
import { openCheckpoint } from "@favor/checkpoints/node";
import { encodeModel, readRange } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import { InputFile } from "@favor/onnx/node";
import { convertAttention } from "@favor/rewriter";

/** The largest allowed difference from transformers. */
const tolerance = 2e-4;

/** What came of a checkpoint. */
export interface Outcome {
  readonly result: "equal" | "refused" | "other head" | "wrong";
  /** The largest difference, or the error's code and message. */
  readonly what: string;
  readonly notes: readonly string[];
}

/**
 * Builds the checkpoint's graph, with its attention written again by exact attention if `rewrite`, and compares what it
 * computes with the expected output at unpadded positions. "other head": the graph has another output than the class of
 * transformers, and a note says so.
 */
export async function compare(folder: string, rewrite: boolean): Promise<Outcome> {
  const file = new InputFile(join(folder, "expected.safetensors"));
  try {
    const opened = await openCheckpoint(folder);
    try {
      const model = rewrite ? convertAttention(opened.model, { features: "exact" }).model : opened.model;
      return { ...(await differenceOf(model, readSafetensors(file), opened.notes)), notes: opened.notes };
    } finally {
      opened.close();
    }
  } catch (error) {
    if (!FavorError.isInstance(error)) throw error;
    return { result: "refused", what: `${error.code}: ${error.message}`, notes: [] };
  } finally {
    file.close();
  }
}

async function differenceOf(
  model: ModelProto,
  tensors: StateDict,
  notes: readonly string[],
): Promise<Omit<Outcome, "notes">> {
  const session = await InferenceSession.create(encodeModel(model), { logSeverityLevel: 3, intraOpNumThreads: 1 });
  const [name, expected] = [...tensors].find(([each]) => each.startsWith("out."))!;
  const outputs = await session.run(Object.fromEntries(session.inputNames.map((each) => [each, input(tensors, each)])));
  await session.release();
  const found = outputs[name.slice("out.".length)];
  if (found === undefined || found.dims.join() !== expected.dims.join()) {
    const what = `${Object.keys(outputs).join(", ")} instead of ${name.slice("out.".length)} [${expected.dims.join(", ")}]`;
    return { result: notes.length > 0 ? "other head" : "wrong", what };
  }
  const values = new Float32Array(readRange(expected.range).buffer as ArrayBuffer);
  const mask = input(tensors, "attention_mask").data as BigInt64Array;
  const width = expected.dims.length === 3 ? expected.dims[2]! : Infinity;
  let largest = 0;
  values.forEach((value, index) => {
    if (width !== Infinity && mask[Math.floor(index / width)] === 0n) return;
    const difference = Math.abs(value - (found.data[index] as number)) / Math.max(1, Math.abs(value));
    largest = Math.max(largest, Number.isNaN(difference) ? Infinity : difference);
  });
  return { result: largest <= tolerance ? "equal" : "wrong", what: largest.toExponential(1) };
}

function input(tensors: StateDict, name: string): Tensor {
  const { dims, range } = tensors.get(`in.${name}`)!;
  return new Tensor("int64", new BigInt64Array(readRange(range).buffer as ArrayBuffer), [...dims]);
}
