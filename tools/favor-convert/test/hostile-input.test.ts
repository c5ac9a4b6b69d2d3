import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { shared } from "@favor/test-support/shared";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";

const caseFolder = (name: string): string => fileURLToPath(new URL(`cases/${name}`, shared));

describe.skipIf(!existsSync(caseFolder("names-with-escapes")))("names with escape sequences (needs ../shared)", () => {
  const folder = caseFolder("names-with-escapes");

  test.each([
    ["inspect", folder],
    ["inspect", folder, "--json"],
    [folder, "--count", "8", "-o"],
    [folder, "--count", "8", "--json", "-o"],
  ])("%s %s %s %s %s", async (...argv) => {
    const out = argv.includes("-o") ? [join(await temporaryFolder(), "out")] : [];
    const { stdout, stderr } = await favorConvert(...argv, ...out);
    expect(stdout + stderr).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
    expect(stdout + stderr).toContain(argv.includes("--json") ? String.raw`\u001b[31mred` : String.raw`\u{1b}[31mred`);
    // A name holds this line: it is none of ours.
    expect(stdout + stderr).not.toMatch(/^favor-convert: done/m);
    expect(() => JSON.parse(argv.includes("--json") ? stdout : "{}")).not.toThrow();
  });
});
