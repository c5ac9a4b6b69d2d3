import { realpath } from "node:fs/promises";
import { join } from "node:path";

import { z } from "zod";

import { readJson } from "./config.ts";

/** The file by which sentence-transformers says what a model consists of. */
export const modulesFile = "modules.json";

const modulesLimit = 1024 * 1024;
const modulesSchema = z.array(z.looseObject({ path: z.string() }));

/** The folders that a `modules.json` names. */
export interface ModulePaths {
  /** Inside the checkpoint, with forward slashes, without the transformer itself (whose path is empty). */
  readonly paths: readonly string[];
  /** The others, each with the reason. */
  readonly refused: readonly string[];
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
  if (real === undefined || !isInside(real)) return { paths: [], refused: [] };
  const modules = (await readJson(path, modulesSchema, modulesLimit)) ?? [];
  const paths = new Set<string>();
  const refused: string[] = [];
  for (const module of modules) {
    const name = module.path.replaceAll("\\", "/").replace(/^(?:\.\/)+|\/+$/g, "");
    const segments = name.split("/");
    if (name === "" || name === ".") continue;
    if (segments.some((segment) => segment === "" || segment === "." || segment === "..") || /^[A-Za-z]:/.test(name)) {
      refused.push(`${JSON.stringify(module.path)}, which is not a path inside the checkpoint`);
    } else if (written.has(segments[0]!)) {
      refused.push(`${name}, where the converted model is written`);
    } else {
      paths.add(name);
    }
  }
  return { paths: [...paths], refused };
}
