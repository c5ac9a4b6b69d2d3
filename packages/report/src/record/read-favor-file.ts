import { join } from "node:path";

import { InputError } from "@favor/checkpoints";
import { readJson } from "@favor/checkpoints/node";
import { favorFileSchema } from "./favor-file.ts";
import type { FavorFile } from "./favor-file.ts";

const favorFileLimit = 64 * 1024 * 1024;

/**
 * `favor.json` of a converted folder.
 *
 * @throws {InputError} `converted-malformed` where there is none, or none that this version reads.
 */
export async function readFavorFile(folder: string): Promise<FavorFile> {
  const path = join(folder, "favor.json");
  const problem = (what: string, cause?: unknown): InputError =>
    new InputError(`${path} ${what}. Name the folder that favor-convert wrote.`, {
      code: "converted-malformed",
      details: { path },
      ...(cause === undefined ? {} : { cause }),
    });
  try {
    const file = await readJson(path, favorFileSchema, favorFileLimit);
    if (file !== undefined) return file;
  } catch (error) {
    throw problem(`is not a favor.json that this version reads`, error);
  }
  throw problem("does not exist");
}
