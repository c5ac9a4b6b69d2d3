import { cp, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { hashFile } from "@favor/onnx/node";
import { describe, expect, test } from "vitest";

import { calibration } from "@favor/test-support/antibody";
import { temporaryFile, temporaryFolder } from "@favor/test-support/temporary-folder";
import { shallowOnce } from "./converted.ts";
import { favorTune } from "./terminal.ts";
import type { Answer } from "@favor/test-support/terminal";

const { converted, original } = shallowOnce({ count: 8 });

const small = ["--max-length", "16", "--batch", "2", "--steps", "2", "--eval-count", "4", "--backend", "wasm"];

/** The command line on a data file, MLM alone. */
async function tuned(data: string, ...more: string[]): Promise<Answer & { readonly left: string[] }> {
  const source = await converted();
  const answer = await favorTune(source, "--data", data, "--stage", "mlm", "--quiet", ...small, ...more);
  return { ...answer, left: (await readdir(join(source, ".."))).toSorted() };
}

const sequence = "EVQLVESGGGLVQPGGSLRLSCAASGFTFSSYAMS";

describe("data that cannot be trained on is refused by name, and nothing is left behind", () => {
  test.each([
    ["one record", `>a\n${sequence}\n`, /neither may be 0/],
    [
      "records that are all equal",
      `>a\n${sequence}\n`.repeat(50),
      /of its 50 records, \d+ are held out .* neither may be 0/,
    ],
    ["binary data", Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 197 + 13) % 256)), /line 1/],
    ["nothing", "", /of its 0 records/],
    [
      "a record of ten megabytes",
      `>long\n${`${sequence}\n`.repeat(3e5)}`,
      /the sequence is longer than 1048576 residues/,
    ],
    [
      "a line of ten megabytes",
      `>long\n${sequence.repeat(3e5)}\n`,
      /line 2: the line is longer than 1048576 characters/,
    ],
  ])("%s", async (name, contents, message) => {
    const data = await temporaryFile(name === "binary data" ? "data.txt" : "data.fasta", contents);
    const { status, stderr, left } = await tuned(data);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^favor-tune: /);
    expect(stderr).not.toContain("unexpected");
    expect(status).toBe(3);
    expect(left).toEqual(["converted"]);
  });
});

test("records of one or two residues are trained on", async () => {
  const letters = [..."ACDEFGHIKLMNPQRSTVWY"];
  const short = letters.flatMap((a) => [a, ...letters.map((b) => a + b)]);
  const data = await temporaryFile("data.fasta", short.map((text, i) => `>${i}\n${text}\n`).join(""));
  const { status, stderr } = await tuned(data, "--eval-count", "50");
  expect(stderr).toBe("");
  expect(status).toBe(0);
});

test("a teacher whose weights are no numbers is named", async () => {
  const folder = await converted();
  const teacher = join(await temporaryFolder(), "teacher");
  await cp(original(), teacher, { recursive: true });
  const weights = join(teacher, "model.safetensors");
  const bytes = await readFile(weights);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, start)) as Record<string, { data_offsets: [number, number] }>;
  const [from, to] = header["bert.embeddings.LayerNorm.weight"]!.data_offsets;
  bytes.fill(0xff, start + from, start + to);
  await writeFile(weights, bytes);
  const path = join(folder, "favor.json");
  const favor = JSON.parse(await readFile(path, "utf8")) as { source: { sha256: string } };
  favor.source.sha256 = await hashFile(weights);
  await writeFile(path, JSON.stringify(favor));
  const files = ["--data", calibration, "--teacher", teacher];
  const { status, stderr } = await favorTune(folder, ...files, "--quiet", ...small);
  expect(stderr).toMatch(/^favor-tune: .*teacher.*not finite/);
  expect(status).toBe(3);
});
