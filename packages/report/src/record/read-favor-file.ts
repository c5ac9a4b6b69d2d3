import { join } from "node:path";

import { InputError } from "@favor/checkpoints";
import { readJson } from "@favor/checkpoints/node";
import { favorFileSchema } from "./favor-file.ts";
import type { FavorFile } from "./favor-file.ts";

const favorFileLimit = 64 * 1024 * 1024;

/**
 * Reads the `favor.json` of a converted folder.
 *
 * @throws {InputError} `converted-malformed` if it is missing or this version cannot read it.
 */
export async function readFavorFile(folder: string): Promise<FavorFile> {
  const path = join(folder, "favor.json");
  const problem = (what: string, cause?: unknown): InputError =>
    new InputError(`${path} ${what}. Give a folder that favor-convert wrote.`, {
      code: "converted-malformed",
      details: { path },
      ...(cause === undefined ? {} : { cause }),
    });
  try {
    const file = await readJson(path, favorFileSchema, favorFileLimit);
    if (file !== undefined) return file;
  } catch (error) {
    throw problem(`cannot be read by this version`, error);
  }
  throw problem("does not exist");
}
