import { createHash } from "node:crypto";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Leaves a blob's partial file as a process does that was killed while it held `bytes`, and removes the blob itself.
 *
 * @param changes to the journal, for damaged ones
 */
export async function abandon(
  blobs: string,
  etag: string,
  bytes: Uint8Array,
  changes: Record<string, unknown> = {},
): Promise<void> {
  const listed = 400_000;
  for (const name of await readdir(blobs)) if (name.startsWith(etag)) await rm(join(blobs, name));
  const path = join(blobs, `${etag}.0123abcd.incomplete`);
  await writeFile(path, bytes);
  const journal = {
    version: 1,
    etag,
    size: listed,
    owner: null,
    done: [{ start: 0, end: bytes.length }],
    prefixBytes: bytes.length,
    prefixDigest: createHash("sha256").update(bytes).digest("hex"),
    ...changes,
  };
  await writeFile(`${path}.json`, JSON.stringify(journal));
}
