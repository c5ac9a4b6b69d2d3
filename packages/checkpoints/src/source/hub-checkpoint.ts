import { openHub } from "@favor/hub/node";
import { exportName } from "./open-checkpoint.ts";

import { InputError } from "../errors.ts";
import type { Progress } from "../progress.ts";
import { companions } from "./companions.ts";
import type { SourceOptions } from "./located-source.ts";

/** Weights that a graph is built from, in the order in which they are preferred. */
const weights = [
  "model.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "pytorch_model.bin.index.json",
];

/** A checkpoint of the Hub in its cache. */
export interface HubCheckpoint {
  readonly folder: string;
  /** The model's file as seen from the folder. */
  readonly file: string;
  readonly commit: string;
}

/**
 * Brings a checkpoint into the Hugging Face cache: configuration, tokenizer, and of the model the one file that will be
 * used, with its external data or shards. HF_HOME, HF_TOKEN, HF_ENDPOINT and the other variables of huggingface_hub count.
 *
 * @throws {InputError} `source-without-model`; HubNotFoundError, HubAccessError, HubNetworkError and the other errors
 * of `@favor/hub`.
 */
export async function bringCheckpoint(id: string, options: SourceOptions, progress: Progress): Promise<HubCheckpoint> {
  const { revision = "main" } = options;
  const hub = openHub();
  progress.stage(`Looking for ${id} at the Hub`);
  const plan = await hub.plan(id, { revision });
  const paths = plan.files.map(({ path }) => path);
  const file = chooseFile(id, paths, options);
  const wanted = new Set([...companions, file, ...partsOf(file, paths)]);
  const files = plan.files.filter(({ path }) => wanted.has(path));
  const bytes = files.reduce((sum, { size, cached }) => sum + (cached ? 0 : size), 0);
  const isCached = files.every(({ cached }) => cached);
  const load = isCached ? "in the cache already" : `${megabytes(bytes)} to download`;
  progress.note(`${id}: ${file} at ${plan.commit}, ${load}`);
  if (!isCached) progress.stage("Downloading", 100);
  let shown = 0;
  const snapshot = await hub.snapshot(id, {
    // Not the commit: the cache should know the branch too, for offline use.
    revision,
    allow: files.map(({ path }) => path),
    onEvent: (event) => {
      if (event.type === "warning") progress.note(event.message);
      if (event.type !== "progress" || event.totalBytes === 0) return;
      const percent = Math.floor((100 * event.bytes) / event.totalBytes);
      progress.advance(percent - shown);
      shown = percent;
    },
  });
  progress.end();
  return { folder: snapshot.folder, file, commit: snapshot.commit };
}

function megabytes(bytes: number): string {
  return bytes < 1e5 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** The model's file: the one asked for, else an ONNX export of the precision, else weights. */
function chooseFile(id: string, paths: readonly string[], { file, dtype }: SourceOptions): string {
  const name = exportName(dtype ?? "fp32");
  const exports = [`onnx/${name}`, name];
  const candidates = file !== undefined ? [file] : dtype === undefined ? [...exports, ...weights] : exports;
  const chosen = candidates.find((candidate) => paths.includes(candidate));
  if (chosen !== undefined) return chosen;
  const models = paths.filter((path) => /\.(onnx|safetensors|bin|h5|msgpack|gguf)$/.test(path));
  const holds = models.length === 0 ? "no model at all" : models.slice(0, 8).join(", ");
  throw new InputError(
    `${id} has none of ${candidates.join(", ")}; it holds ${holds}. Name one of them with --file, or another repository.`,
    { code: "source-without-model", details: { id, candidates, models } },
  );
}

/** Files that belong to a model's file: external data of ONNX, shards of an index. */
function partsOf(file: string, paths: readonly string[]): string[] {
  if (file.endsWith(".onnx")) {
    return paths.filter((path) => path.startsWith(`${file}_data`) || path === `${file}.data`);
  }
  if (!file.endsWith(".index.json")) return [];
  const [stem, extension] = file.slice(0, -".index.json".length).split(/\.(?=[^.]+$)/);
  return paths.filter((path) => path.startsWith(`${stem}-`) && path.endsWith(`.${extension}`));
}
