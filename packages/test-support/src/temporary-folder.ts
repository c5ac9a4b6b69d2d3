import { mkdtempSync, realpathSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeEach } from "vitest";

const root = realpathSync(mkdtempSync(join(tmpdir(), "favor-test-")));
const made: string[] = [];

// A test that ran out of time may still be writing: what it leaves behind fails no other.
afterAll(() => rm(root, { recursive: true, force: true }).catch(() => undefined));

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

/** Paths in a folder that is new for each test of the file. */
export function folderOfEachTest(): (...names: string[]) => string {
  let folder = "";
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  return (...names) => join(folder, ...names);
}
