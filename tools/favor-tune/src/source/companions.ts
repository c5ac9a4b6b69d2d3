import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { companions } from "@favor/checkpoints/node";

/**
 * The SHA-256, in hexadecimal, of the names and contents of the files that are copied along with a model: configuration,
 * tokenizer and licence.
 */
export async function companionsSha256(folder: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of companions) {
    const contents = await readFile(join(folder, name)).catch(() => undefined);
    if (contents !== undefined) hash.update(`${name} ${contents.length}\n`).update(contents);
  }
  return hash.digest("hex");
}
