import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { installedVersions } from "@favor/command-line";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { expect, test } from "vitest";

test("the versions that are installed, not the ranges of the manifest", async () => {
  const folder = await temporaryFolder();
  const manifest = { name: "tool", version: "1.0.0", dependencies: { parser: "^2.0.0" } };
  await writeFile(join(folder, "package.json"), JSON.stringify(manifest));
  const installed = join(folder, "node_modules", "parser");
  await mkdir(installed, { recursive: true });
  await writeFile(join(installed, "package.json"), JSON.stringify({ name: "parser", version: "2.3.4" }));
  expect(installedVersions(pathToFileURL(join(folder, "package.json")), ["parser"])).toEqual({
    tool: "1.0.0",
    parser: "2.3.4",
  });
});
