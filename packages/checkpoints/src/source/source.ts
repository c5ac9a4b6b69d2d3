import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";

import { FavorError } from "@favor/core";

import { InputError, UsageError, messageOf, systemCode } from "../errors.ts";
import { silent } from "../progress.ts";
import type { Progress } from "../progress.ts";
import { requireFile } from "./choose-file.ts";
import { readConfig } from "./config.ts";
import { listFolder } from "./list-folder.ts";
import type { Source, SourceOptions } from "./located-source.ts";
import { otherFolder, pathsBelow } from "./other-folders.ts";

/** `organisation/name`, or the single name of an old model such as `gpt2`; `@revision` may follow. */
const hubId = /^([\w.-]+\/[\w.-]+|\w+(?:-\w+)*)(?:@(.+))?$/;

/** What can only be a path: it begins like one, or ends like a model's file. */
const localPath = /^(\.{1,2}|~)([\\/]|$)|^[\\/]|\.(onnx|safetensors|bin|pth?|h5|json|gguf|zip|gz)$/i;

/** Files that a model can be read from. */
const modelFile = /\.(onnx|safetensors|bin|pth?|index\.json)$/;

/** Reads a path as a request to the Hub; undefined if it can only be local. */
function hubRequest(path: string, options: SourceOptions): (SourceOptions & { readonly id: string }) | undefined {
  const [, id, revision] = localPath.test(path) ? [] : (hubId.exec(path) ?? []);
  if (id === undefined) return undefined;
  if (revision === undefined) return { ...options, id };
  if (options.revision === undefined || options.revision === revision) return { ...options, id, revision };
  throw contradiction(`${path} already names the revision ${revision}, and --revision names ${options.revision}.`);
}

function contradiction(found: string): UsageError {
  return new UsageError(`${found} Remove one of the two.`, { code: "bad-arguments" });
}

/** Refuses options that would have no effect. */
function checkLocal(path: string, isFolder: boolean, { file, dtype, revision }: SourceOptions): void {
  if (revision !== undefined) {
    throw contradiction(`--revision names a version on the Hub, but ${path} is on this machine.`);
  }
  const isThatFile = file === undefined || resolve(path).replaceAll("\\", "/").endsWith(`/${file}`);
  if (isFolder || (isThatFile && dtype === undefined)) return;
  throw contradiction(`--file and --dtype choose among a folder's models, but ${path} is a single file.`);
}

/**
 * Finds a model, its configuration and its folder. The path is a checkpoint folder or a model's file. If no such path
 * exists, it is the id of a repository on the Hugging Face Hub, which is downloaded into the Hub's cache.
 *
 * Only fixed file names are read. Paths inside configuration files (`vocab_file` and the like) are never followed, so a
 * hostile checkpoint cannot make us read or copy files from elsewhere.
 *
 * @throws {UsageError} `bad-arguments` for options that contradict the path or each other.
 * @throws {InputError} `file-unreadable`, `source-without-model`, `source-ambiguous`, `config-malformed`; what
 * `openCheckpoint` throws for weights; the errors of `@favor/hub`.
 */
export async function openSource(
  path: string,
  options: SourceOptions = {},
  progress: Progress = silent,
): Promise<Source> {
  const absolute = resolve(path);
  const found = await stat(absolute).catch((error: unknown) => {
    const isMissing = systemCode(error) === "ENOENT";
    const request = isMissing ? hubRequest(path, options) : undefined;
    if (request !== undefined) return request;
    const reason = isMissing ? `does not exist${homeHint(path)}` : `cannot be read: ${messageOf(error)}`;
    throw new InputError(
      `${absolute} ${reason}. Give a checkpoint folder (config.json, tokenizer files, onnx/model.onnx), an .onnx file, ` +
        `or the id of a model on the Hugging Face Hub (organisation/name, or a single name such as gpt2).`,
      { code: "file-unreadable", cause: error, details: { path: absolute } },
    );
  });
  if ("id" in found) {
    if (!found.id.includes("/"))
      progress.note(`There is no file or folder ${absolute}: ${found.id} is taken for a model on the Hub.`);
    const { bringCheckpoint } = await import("./hub-checkpoint.ts");
    const { folder, file, commit } = await bringCheckpoint(found.id, found, progress).catch((error: unknown) => {
      throw alsoNotHere(error, path);
    });
    return { ...(await sourceIn(folder, file, options)), name: found.id, revision: commit };
  }
  if (!found.isDirectory() && !found.isFile()) {
    throw new InputError(`${absolute} is neither a file nor a folder. Give a checkpoint folder or an .onnx file.`, {
      code: "file-unreadable",
      details: { path: absolute },
    });
  }
  if (found.isFile() && !modelFile.test(path)) {
    throw new InputError(
      `${absolute} is not a model: its name does not end in .onnx, .safetensors, .bin, .pt, .pth or .index.json. Give a ` +
        `checkpoint folder or its model. Pass data files with --calibrate or --evaluate.`,
      { code: "source-without-model", details: { path: absolute } },
    );
  }
  checkLocal(path, found.isDirectory(), options);
  if (found.isDirectory()) return sourceIn(absolute, modelIn(absolute, options), options);
  const parent = dirname(absolute);
  const folder = basename(parent) === "onnx" ? dirname(parent) : parent;
  return sourceIn(folder, relative(folder, absolute).replaceAll("\\", "/"), options);
}

/** The shell expands `~`, but not inside quotes. */
function homeHint(path: string): string {
  return path.startsWith("~") ? " (~ is not expanded inside quotes)" : "";
}

/** Older versions of transformers kept models there; its version 5 and huggingface_hub no longer look. */
const formerCache =
  " TRANSFORMERS_CACHE is set, but Favor reads HF_HUB_CACHE, as huggingface_hub does: set that to the same folder.";

/** Advice for errors of the Hub that a mistyped path cannot explain. */
const hubAdvice: Readonly<Record<string, string>> = {
  "hub-revision-not-found": "Without a revision, main is used.",
};

/** The Hub's error, extended by the hint that the path does not exist: a mistyped path looks like an id. */
function alsoNotHere(error: unknown, path: string): unknown {
  if (!FavorError.isInstance(error) || !error.code.startsWith("hub-")) return error;
  const advice = hubAdvice[error.code] ?? `There is no file or folder ${resolve(path)} on this machine either.`;
  const isElsewhere = error.code === "hub-offline" && process.env["TRANSFORMERS_CACHE"] !== undefined;
  error.message = `${error.message} ${advice}${isElsewhere ? formerCache : ""}`;
  return error;
}

/** The repository of a snapshot in the Hub's cache: `models--organisation--name/snapshots/<commit>`. */
function repositoryName(folder: string): string | undefined {
  const snapshots = dirname(folder);
  const [, id] = /^models--(.+)$/.exec(basename(dirname(snapshots))) ?? [];
  return basename(snapshots) === "snapshots" ? id?.replace("--", "/") : undefined;
}

/** The model's file in a folder; without one, the error says what the folder is. */
function modelIn(folder: string, options: SourceOptions): string {
  return requireFile(folder, listFolder(folder, options.file), options, () =>
    otherFolder(folder, pathsBelow(folder), false),
  );
}

async function sourceIn(folder: string, modelName: string, { task }: SourceOptions): Promise<Source> {
  if (task !== undefined && modelName.endsWith(".onnx")) {
    throw new UsageError(
      `--task chooses the head of a graph that is built from weights, but ${join(folder, modelName)} already is a graph. ` +
        "Name the checkpoint's weights with --file, if it has any, or leave out --task.",
      { code: "bad-arguments" },
    );
  }
  return {
    ...(task !== undefined && { task }),
    name: repositoryName(folder) ?? basename(folder),
    modelPath: join(folder, modelName),
    folder,
    modelName,
    config: await readConfig(folder, modelName),
  };
}

/** Resolves every link in a path. If the path does not exist yet, resolves its nearest existing ancestor. */
export async function realPathOf(path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    return await realpath(absolute);
  } catch {
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(await realPathOf(parent), basename(absolute));
  }
}
