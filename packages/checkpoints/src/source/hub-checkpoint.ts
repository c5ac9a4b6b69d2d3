import { bytesText } from "@favor/hub/bytes-text";
import { openHub } from "@favor/hub/node";

import type { Progress } from "../progress.ts";
import { requireFile } from "./choose-file.ts";
import { companions } from "./companions.ts";
import type { SourceOptions } from "./located-source.ts";

/** A checkpoint from the Hub, in the local cache. */
export interface HubCheckpoint {
  readonly folder: string;
  /** The model's file, relative to the folder. */
  readonly file: string;
  readonly commit: string;
}

/**
 * Downloads a checkpoint into the Hugging Face cache: its configuration, its tokenizer, and the one model file that will
 * be used, with its external data or shards. Honours HF_HOME, HF_TOKEN, HF_ENDPOINT and the other variables of
 * huggingface_hub.
 *
 * @throws {InputError} `source-without-model`, `source-ambiguous`; HubNotFoundError, HubAccessError, HubNetworkError and the other errors
 * of `@favor/hub`.
 */
export async function bringCheckpoint(id: string, options: SourceOptions, progress: Progress): Promise<HubCheckpoint> {
  const { revision = "main" } = options;
  const hub = openHub();
  progress.stage(`Looking up ${id} on the Hub`);
  const plan = await hub.plan(id, { revision });
  const paths = plan.files.map(({ path }) => path);
  const file = requireFile(id, paths, options);
  const wanted = new Set([...companions, file, ...partsOf(file, paths)]);
  const files = plan.files.filter(({ path }) => wanted.has(path));
  const bytes = files.reduce((sum, { size, cached }) => sum + (cached ? 0 : size), 0);
  const isCached = files.every(({ cached }) => cached);
  const load = isCached ? "already in the cache" : `${bytesText(bytes)} to download`;
  progress.note(`${id}: ${file} at ${plan.commit}, ${load}`);
  if (!isCached) progress.stage("Downloading", 100);
  let shown = 0;
  const snapshot = await hub.snapshot(id, {
    // The branch, not the commit: the cache must know it for offline use.
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

/** Files that a model's file refers to: external data of ONNX, shards of an index. */
function partsOf(file: string, paths: readonly string[]): string[] {
  if (file.endsWith(".onnx")) {
    return paths.filter((path) => path.startsWith(`${file}_data`) || path === `${file}.data`);
  }
  if (!file.endsWith(".index.json")) return [];
  const [stem, extension] = file.slice(0, -".index.json".length).split(/\.(?=[^.]+$)/);
  return paths.filter((path) => path.startsWith(`${stem}-`) && path.endsWith(`.${extension}`));
}
