import { realpath } from "node:fs/promises";
import { join } from "node:path";

import { z } from "zod";

import { readJson } from "./config.ts";

/** The file by which sentence-transformers says what a model consists of. */
export const modulesFile = "modules.json";

const modulesLimit = 1024 * 1024;
const modulesSchema = z.array(z.looseObject({ path: z.string(), type: z.string().optional() }));

/** A step of a model of sentence-transformers, in their order. */
export interface SentenceModule {
  /** The last part of the class's name: `Transformer`, `Pooling`, `Dense`, `Normalize`. Empty if the file gives none. */
  readonly kind: string;
  /** Its folder inside the checkpoint, with forward slashes; empty for the checkpoint's own. */
  readonly path: string;
}

/** The folders that a `modules.json` names. */
export interface ModulePaths {
  /** Inside the checkpoint, with forward slashes, without the transformer itself (whose path is empty). */
  readonly paths: readonly string[];
  /** The others, each with the reason. */
  readonly refused: readonly string[];
  /** All modules whose path is not refused. */
  readonly modules: readonly SentenceModule[];
}

/** Folders that Favor writes itself. */
const written = new Set(["onnx"]);

/**
 * Reads the folders of a checkpoint's modules. A path that leads out of the checkpoint is refused.
 *
 * @param isInside - whether the file itself, every link resolved, belongs to the checkpoint.
 * @throws {InputError} `config-malformed`, `file-too-large`, `file-unreadable`.
 */
export async function readModulePaths(folder: string, isInside: (path: string) => boolean): Promise<ModulePaths> {
  const path = join(folder, modulesFile);
  const real = await realpath(path).catch(() => undefined);
  if (real === undefined || !isInside(real)) return { paths: [], refused: [], modules: [] };
  const named = (await readJson(path, modulesSchema, modulesLimit)) ?? [];
  const modules: SentenceModule[] = [];
  const paths = new Set<string>();
  const refused: string[] = [];
  for (const module of named) {
    const kind = module.type?.split(".").at(-1) ?? "";
    const name = module.path.replaceAll("\\", "/").replace(/^(?:\.\/)+|\/+$/g, "");
    const segments = name.split("/");
    if (name === "" || name === ".") {
      modules.push({ kind, path: "" });
      continue;
    }
    if (segments.some((segment) => segment === "" || segment === "." || segment === "..") || /^[A-Za-z]:/.test(name)) {
      refused.push(`${JSON.stringify(module.path)}, which is not a path inside the checkpoint`);
    } else if (written.has(segments[0]!)) {
      refused.push(`${name}, where the converted model is written`);
    } else {
      paths.add(name);
      modules.push({ kind, path: name });
    }
  }
  return { paths: [...paths], refused, modules };
}
