import { bytesText } from "@favor/hub/bytes-text";
import { openHub } from "@favor/hub/node";
import type { HubEvent, Plan, PlannedFile, Snapshot } from "@favor/hub/node";

import type { Progress } from "../progress.ts";
import { chooseFile, requireFile } from "./choose-file.ts";
import { companions } from "./companions.ts";
import type { SourceOptions } from "./located-source.ts";
import { modulesFile, readModulePaths } from "./modules-file.ts";
import { otherFolder } from "./other-folders.ts";

/** A checkpoint from the Hub, in the local cache. */
export interface HubCheckpoint {
  readonly folder: string;
  /** The model's file, relative to the folder. */
  readonly file: string;
  readonly commit: string;
}

/**
 * Downloads a checkpoint into the Hugging Face cache: its configuration, its tokenizer, and the one model file that will
 * be used, with its external data or shards, and the folders that its `modules.json` names. Honours HF_HOME, HF_TOKEN,
 * HF_ENDPOINT and the other variables of huggingface_hub. Offline, and with a warning if the Hub cannot be reached, the
 * files in the cache are used, whoever put them there.
 *
 * @throws {InputError} `source-without-model`, `source-ambiguous`; HubNotFoundError, HubAccessError, HubNetworkError,
 * HubOfflineError and the other errors of `@favor/hub`.
 */
export async function bringCheckpoint(id: string, options: SourceOptions, progress: Progress): Promise<HubCheckpoint> {
  const { revision = "main" } = options;
  progress.stage(`Looking up ${id} on the Hub`);
  const onEvent = (event: HubEvent): void => {
    if (event.type === "warning") progress.warn(event.message);
  };
  const plan = await openHub().plan(id, { revision, onEvent });
  const file = chooseIn(plan, id, options, progress);
  const paths = plan.files.map(({ path }) => path);
  // The cache may lack a licence; it may not lack the model, or what is computed would depend on what is there.
  const needed = new Set([file, ...partsOf(file, paths)]);
  const wanted = new Set([...companions, ...needed]);
  const files = plan.files.filter(
    ({ path, cached }) => wanted.has(path) && (cached || !plan.isLocal || needed.has(path)),
  );
  progress.note(`${id}: ${file} at ${plan.commit}, ${loadOf(files)}`);
  const snapshot = await bring(id, revision, plan, files, progress);
  const { folder, commit } = snapshot;
  const { paths: modules } = files.some(({ path }) => path === modulesFile)
    ? await readModulePaths(folder, () => true)
    : { paths: [] };
  const further = plan.files.filter(({ path, cached }) => {
    return (cached || !plan.isLocal) && modules.some((module) => path.startsWith(`${module}/`));
  });
  if (further.length > 0) await bring(id, commit, plan, [...files, ...further], progress);
  noteMissing(plan, id, wanted, modules, progress);
  progress.end();
  return { folder, file, commit };
}

/**
 * The model's file. If only the cache may be used, it is chosen among the files there: a repository may have another that
 * would be preferred, which is worth a note.
 */
function chooseIn(plan: Plan, id: string, options: SourceOptions, progress: Progress): string {
  const all = plan.files.map(({ path }) => path);
  if (!plan.isLocal) return requireFile(id, all, options, () => otherFolder(id, all, true));
  const cached = plan.files.filter((each) => each.cached).map(({ path }) => path);
  const file = requireFile(`The cache's copy of ${id}`, cached, options);
  const preferred = plan.isComplete ? chooseFile(all, options) : undefined;
  if (preferred !== undefined && "file" in preferred && preferred.file !== file) {
    progress.warn(`${id} has ${preferred.file}, which would be used, but only ${file} is in the cache.`);
  } else if (!plan.isComplete && options.file === undefined) {
    progress.note(`${id}: chosen among the files in the cache; the repository may hold others.`);
  }
  return file;
}

function loadOf(files: readonly PlannedFile[]): string {
  const missing = files.filter(({ cached }) => !cached);
  if (missing.length === 0) return "already in the cache";
  return `${bytesText(missing.reduce((sum, { size }) => sum + size, 0))} to download`;
}

/** Brings files of a plan into the cache. */
function bring(
  id: string,
  revision: string,
  plan: Plan,
  files: readonly PlannedFile[],
  progress: Progress,
): Promise<Snapshot<string>> {
  const allow = files.map(({ path }) => path);
  // The Hub has just been asked, or may not be: it is not asked once more.
  if (plan.isLocal) return openHub({ offline: true }).snapshot(id, { revision: plan.commit, allow });
  if (files.some(({ cached }) => !cached)) progress.stage("Downloading", 100);
  let shown = 0;
  return openHub().snapshot(id, {
    // The branch, not the commit: the cache must know it for offline use.
    revision,
    allow,
    onEvent: (event) => {
      if (event.type === "warning") progress.warn(event.message);
      if (event.type !== "progress" || event.totalBytes === 0) return;
      const percent = Math.floor((100 * event.bytes) / event.totalBytes);
      progress.advance(percent - shown);
      shown = percent;
    },
  });
}

/** Says which files the repository is known to have, and which the output will lack because the cache does. */
function noteMissing(
  plan: Plan,
  id: string,
  wanted: ReadonlySet<string>,
  modules: readonly string[],
  progress: Progress,
): void {
  if (!plan.isLocal) return;
  const missing = plan.files
    .filter(({ path, cached }) => !cached && (wanted.has(path) || modules.some((each) => path.startsWith(`${each}/`))))
    .map(({ path }) => path);
  if (missing.length > 0)
    progress.warn(`The cache lacks ${missing.join(", ")} of ${id}; the output will lack them too.`);
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
