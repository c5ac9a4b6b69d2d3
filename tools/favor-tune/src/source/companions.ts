import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

import { findCompanions } from "@favor/checkpoints/node";

/**
 * The SHA-256, in hexadecimal, of the names and contents of the files that are copied along with a model: configuration,
 * tokenizer and licence.
 */
export async function companionsSha256(folder: string): Promise<string> {
  const hash = createHash("sha256");
  for (const { name, path } of (await findCompanions(folder)).own) {
    const contents = await readFile(path).catch(() => undefined);
    if (contents !== undefined) hash.update(`${name} ${contents.length}\n`).update(contents);
  }
  return hash.digest("hex");
}
