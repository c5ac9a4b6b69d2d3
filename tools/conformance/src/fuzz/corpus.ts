import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { FavorError } from "@favor/core";
import { createMessage, decodeModel, encodeModel, modelTensors, type ModelProto } from "@favor/onnx";

/** A model to mutate. */
export interface Seed {
  /** Its path in the corpus, with forward slashes. */
  readonly name: string;
  /** The file without its weights. */
  readonly bytes: Uint8Array;
}

/** The whole zoo, next to the repository, or its core, inside the repository. */
export function defaultCorpus(): string {
  // The repository's root, seen from src/fuzz/ and from dist/.
  const roots = ["../../../../", "../../../"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const root = roots.find((folder) => existsSync(join(folder, "packages/onnx")))!;
  const zoo = join(root, "../shared/zoo");
  return existsSync(zoo) ? zoo : join(root, "tools/conformance/zoo");
}

/** Tensors above this many bytes are weights: what is in them never decides how a graph is read. */
const largestConstant = 2 ** 15;
const largestFile = 2 ** 21;

/**
 * The ONNX models of a folder and its sub-folders up to 2 MiB that can be read, in the order of their names. Their
 * weights become external data that is not there, so that mutations hit what is parsed.
 */
export function readCorpus(folder: string): Seed[] {
  const seeds: Seed[] = [];
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".onnx"))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .toSorted();
  for (const name of files) {
    const bytes = new Uint8Array(readFileSync(join(folder, name)));
    if (bytes.length > largestFile) continue;
    try {
      seeds.push({ name, bytes: encodeModel(withoutWeights(decodeModel(bytes))) });
    } catch (error) {
      // Broken on purpose.
      if (!FavorError.isInstance(error)) throw error;
    }
  }
  if (seeds.length === 0) throw new Error(`There is no ONNX model in ${folder}.`);
  return seeds;
}

function withoutWeights(model: ModelProto): ModelProto {
  for (const tensor of modelTensors(model)) {
    const length = tensor.source?.range.length ?? tensor.rawData.length;
    if (length <= largestConstant) continue;
    delete tensor.source;
    const entries = { location: "weights.bin", offset: "0", length: String(length) };
    Object.assign(tensor, {
      rawData: new Uint8Array(),
      dataLocation: 1,
      externalData: Object.entries(entries).map(([key, value]) =>
        createMessage("StringStringEntryProto", { key, value }),
      ),
    });
  }
  return model;
}
