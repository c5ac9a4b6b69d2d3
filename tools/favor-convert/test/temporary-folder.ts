import { mkdtempSync, rmSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach } from "vitest";

const root = mkdtempSync(join(tmpdir(), "favor-test-"));
const made: string[] = [];

// A test that ran out of time goes on writing, and makes its folder anew, after the others have been removed.
process.once("exit", () => rmSync(root, { recursive: true, force: true }));

afterEach(async () => {
  for (const folder of made.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** A new folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(root, "folder-"));
  made.push(folder);
  return folder;
}

/** A new file that is removed after the test. */
export async function temporaryFile(name: string, contents: string | Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), name);
  await writeFile(path, contents);
  return path;
}
