import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { openModel, writeModel } from "@favor/onnx/node";
import { tiny } from "@favor/test-support/antibody";
import { shared } from "@favor/test-support/shared-folder";
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
    for (const name of ["favor.json", "report.html", "README.md"]) {
      const written = await readFile(join(out[0] ?? "none", name), "utf8").catch(() => "");
      expect(written).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
    }
  });
});

describe.skipIf(!existsSync(caseFolder("tokenizer-pattern-that-backtracks")))(
  "data and tokenizers that take for ever (needs ../shared)",
  () => {
    test("a pattern that backtracks: tokenizer.json and the pattern are named", async () => {
      const folder = caseFolder("tokenizer-pattern-that-backtracks");
      const out = join(await temporaryFolder(), "out");
      const data = ["--calibrate", join(folder, "data.txt")];
      const { status, stderr } = await favorConvert(folder, "-o", out, "--count", "8", ...data);
      expect(status).toBe(3);
      expect(stderr).toMatch(
        /tokenizer\.json takes more than 15 s to tokenize "a+\.\.\." \(41 characters\)\..*\(\(a\+\)\+\$\)/,
      );
      expect(existsSync(out)).toBe(false);
    });

    test("150 million blank lines of 150 kB", async () => {
      const out = join(await temporaryFolder(), "out");
      const data = ["--calibrate", join(caseFolder("blank-lines-compressed"), "sequences.fasta.gz")];
      const { status, stderr } = await favorConvert(tiny, "-o", out, "--count", "8", ...data);
      expect(stderr).toContain("Calibration sees only 2 sequences");
      expect(status).toBe(0);
    });
  },
);

test("names and metadata of 16 million characters are shown shortened", async () => {
  const { model, close } = await openModel(join(tiny, "onnx", "model.onnx"));
  const long = "x".repeat(2 ** 24);
  model.producerName = long;
  model.graph.name = long;
  model.metadataProps.push({ key: long, value: long });
  for (const node of model.graph.node) if (node.opType === "Softmax") node.name = long;
  const path = join(await temporaryFolder(), "model.onnx");
  await writeModel(model, path);
  close();
  for (const argv of [
    ["inspect", path],
    ["inspect", path, "--json"],
  ]) {
    const { status, stdout, stderr } = await favorConvert(...argv);
    expect(status).toBe(0);
    expect(stdout.length + stderr.length).toBeLessThan(100_000);
  }
});
