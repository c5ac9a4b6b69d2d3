import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";

import { InputError, messageOf, systemCode } from "../errors.ts";
import { readConfig } from "./config.ts";
import type { ModelConfig } from "./config.ts";

/** A checkpoint on disk: one ONNX file and the files around it. */
export interface Source {
  /** What the user named, made absolute. */
  readonly path: string;
  /** The ONNX file, absolute. */
  readonly modelPath: string;
  /** Where `config.json` and the tokenizer lie (or would lie), absolute. */
  readonly folder: string;
  /** The ONNX file as seen from `folder`, with forward slashes: `onnx/model.onnx`. */
  readonly modelName: string;
  readonly config: ModelConfig;
}

/** Where a checkpoint folder keeps its model, in the order in which we look. */
const usualPlaces = ["onnx/model.onnx", "model.onnx"];

async function onnxFilesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const place of ["onnx", "."]) {
    const names = await readdir(join(folder, place)).catch(() => [] as string[]);
    found.push(
      ...names.filter((name) => name.endsWith(".onnx")).map((name) => (place === "." ? name : `onnx/${name}`)),
    );
  }
  return found.toSorted();
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

/** The model inside a folder: a usual place, or the only ONNX file there is. */
async function modelIn(folder: string): Promise<string> {
  for (const place of usualPlaces) if (await isFile(join(folder, place))) return place;
  const found = await onnxFilesIn(folder);
  if (found.length === 1) return found[0]!;
  if (found.length > 1) {
    throw new InputError(
      `${folder} holds ${found.length} ONNX models (${found.join(", ")}) and none is called model.onnx. Name the one ` +
        `to convert: favor-convert ${join(folder, found[0]!)} ...`,
      { code: "source-ambiguous", details: { folder, found } },
    );
  }
  const weights = (await readdir(folder)).filter((name) => /\.(safetensors|bin|pt|pth|h5|msgpack)$/.test(name));
  const advice =
    weights.length > 0
      ? `It has weights in another format (${weights.slice(0, 3).join(", ")}): export them first, for instance with ` +
        `\`optimum-cli export onnx --model ${folder} <dir>\`, and convert <dir>.`
      : `Give a folder with onnx/model.onnx or model.onnx, or the .onnx file itself.`;
  throw new InputError(`${folder} holds no ONNX model. ${advice}`, {
    code: "source-without-model",
    details: { folder },
  });
}

/**
 * Finds the model, its configuration and its folder, given a checkpoint folder or an `.onnx` file.
 *
 * Only fixed file names are ever looked for: a path written inside a configuration file (`vocab_file` and the like)
 * is never followed, so a hostile checkpoint cannot make us read or copy a file elsewhere.
 *
 * @throws {InputError} `file-unreadable`, `source-without-model`, `source-ambiguous`, `config-malformed`.
 */
export async function openSource(path: string): Promise<Source> {
  const absolute = resolve(path);
  const found = await stat(absolute).catch((error: unknown) => {
    const reason = systemCode(error) === "ENOENT" ? "does not exist" : `cannot be read: ${messageOf(error)}`;
    throw new InputError(
      `${absolute} ${reason}. Give a checkpoint folder (config.json, tokenizer files, onnx/model.onnx) or an .onnx file.`,
      { code: "file-unreadable", cause: error, details: { path: absolute } },
    );
  });
  let modelPath: string;
  let folder: string;
  if (found.isDirectory()) {
    folder = absolute;
    modelPath = join(folder, await modelIn(folder));
  } else if (found.isFile()) {
    modelPath = absolute;
    const parent = dirname(absolute);
    folder = basename(parent) === "onnx" ? dirname(parent) : parent;
  } else {
    throw new InputError(`${absolute} is neither a file nor a folder. Give a checkpoint folder or an .onnx file.`, {
      code: "file-unreadable",
      details: { path: absolute },
    });
  }
  const modelName = relative(folder, modelPath).replaceAll("\\", "/");
  return { path: absolute, modelPath, folder, modelName, config: await readConfig(folder) };
}

/** The path with every link resolved; for a path that does not exist yet, that of its nearest existing ancestor. */
export async function realPathOf(path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    return await realpath(absolute);
  } catch {
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(await realPathOf(parent), basename(absolute));
  }
}
