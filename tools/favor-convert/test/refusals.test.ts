import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

import { describe, expect, test } from "vitest";

import { tiny, validation } from "@favor/test-support/antibody";
import { exposeProbabilities, poison, withBytes, withModel, withoutAttention } from "./edited-models.ts";
import { temporaryFile, temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";

/** Runs a conversion that must fail; returns its message. */
async function refused(status: number, source: string, ...options: string[]): Promise<string> {
  const output = join(await temporaryFolder(), "new", "out");
  const answer = await favorConvert(source, "-o", output, "--quiet", ...options);
  expect(answer).toMatchObject({ status, stdout: "" });
  expect(answer.stderr).toMatch(/^favor-convert: [^\n]+\n$/);
  // Neither the output folder nor the parent that would be made for it.
  expect(existsSync(dirname(output))).toBe(false);
  return answer.stderr;
}

describe("damaged models: exit code 3, one paragraph, no output", () => {
  test("empty", async () => {
    expect(await refused(3, await withBytes(() => Buffer.alloc(0)))).toMatch(/empty/i);
  });

  test.each([0.2, 0.7, 0.999])("truncated at %d of its length", async (share) => {
    const message = await refused(3, await withBytes((bytes) => bytes.subarray(0, Math.floor(bytes.length * share))));
    expect(message).toMatch(/truncated|cut|ends|incomplete/i);
  });

  test("an HTML page", async () => {
    expect(
      await refused(3, await withBytes(() => Buffer.from("<!doctype html><html><body>404</body></html>"))),
    ).toContain("is a web page, not a model");
  });

  test("a git-LFS pointer", async () => {
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 3605200\n`;
    expect(await refused(3, await withBytes(() => Buffer.from(pointer)))).toMatch(/git-lfs|Git LFS|git lfs/);
  });

  test("a NaN weight: named, with its element", async () => {
    expect(await refused(3, await withModel(poison))).toMatch(/weight ".+" is NaN at element 5000/);
  });

  test("no attention", async () => {
    expect(await refused(3, await withModel(withoutAttention))).toContain("No softmax attention was found");
  });

  test("attention probabilities as outputs", async () => {
    expect(await refused(3, await withModel(exposeProbabilities))).toMatch(
      /None of the 4 attention layers can be replaced.*output/,
    );
  });

  test("a folder without a model, one with several models, one with empty weights", async () => {
    const folder = await temporaryFolder();
    expect(await refused(3, folder)).toMatch(/has none of .*model\.onnx.*; it holds no model at all/);
    await writeFile(join(folder, "a.onnx"), "");
    await writeFile(join(folder, "b.onnx"), "");
    expect(await refused(3, folder)).toContain("holds 2 ONNX models (a.onnx, b.onnx)");
    await writeFile(join(folder, "model.safetensors"), "");
    expect(await refused(3, folder)).toMatch(/has model\.safetensors, but no config\.json/);
    await writeFile(join(folder, "config.json"), '{"model_type":"bert"}');
    expect(await refused(3, folder)).toMatch(/model\.safetensors has only 0 bytes/);
    expect(await refused(3, join(folder, "none"))).toContain("does not exist");
  });

  test("a converted model is not converted twice", async () => {
    const output = join(await temporaryFolder(), "out");
    expect((await favorConvert(tiny, "-o", output, "--count", "16", "--quiet")).status).toBe(0);
    expect(await refused(3, output)).toContain("was converted before");
  });
});

describe("damaged data and configuration: exit code 3, one paragraph, no output", () => {
  test.each(["--calibrate", "--evaluate"])("%s: empty, missing, a folder, malformed", async (option) => {
    expect(await refused(3, tiny, option, await temporaryFile("x.fasta", ""))).toContain("contains no sequences");
    expect(await refused(3, tiny, option, "/nowhere/x.fasta")).toContain("/nowhere/x.fasta cannot be read");
    expect(await refused(3, tiny, option, tiny)).toMatch(/not a regular file|cannot be read/);
    expect(await refused(3, tiny, option, await temporaryFile("x.fasta", ">a\nQV1\n"))).toContain("x.fasta, line 2");
  });

  test("a tokenizer larger than the embedding", async () => {
    const folder = await withModel(() => {});
    await writeFile(join(folder, "config.json"), JSON.stringify({ vocab_size: 20, max_position_embeddings: 512 }));
    expect(await refused(3, folder, "--evaluate", validation)).toContain(
      "ids up to 24, but the model's embedding has 20 rows",
    );
  });

  test("no tokenizer, and a config.json that is none", async () => {
    const folder = await withModel(() => {});
    await rm(join(folder, "tokenizer.json"));
    await rm(join(folder, "vocab.txt"));
    expect(await refused(3, folder, "--evaluate", validation)).toContain("holds neither tokenizer.json nor vocab.txt");
    await writeFile(join(folder, "config.json"), "<html>");
    expect(await refused(3, folder)).toContain("config.json is a web page");
    await writeFile(join(folder, "config.json"), '{"vocab_size": "many"}');
    expect(await refused(3, folder)).toMatch(/config\.json: "vocab_size" is not as expected/);
  });
});

describe("usage: exit code 2", () => {
  test.each([
    [["--featuers", "positive"], /: Unknown option --featuers \(did you mean --features\?\)\. See/],
    [["--max-lenght=700"], /: Unknown option --max-lenght \(did you mean --max-length\?\)\. See/],
    [["--calib", validation], /: Unknown option --calib \(did you mean --calibrate\?\)\. See/],
    [["-f", "--epochs", "3"], /: Unknown option -f; Unknown option --epochs\. See/],
    [["--features", "cosine"], /--features takes one of landmark, positive, .*; found "cosine"\. See/],
    [["--features", "positve"], /; found "positve" \(did you mean positive\?\)/],
    [["--calibrate", "-"], /--calibrate takes a path, found none \("-" for standard input is not supported\)/],
    [["--count", "0"], /--count takes a whole number from 1 to 65536, found 0/],
    [["--count", "many"], /--count takes a whole number/],
    [["--seed", "-1"], /--seed takes a whole number/],
    [["--seed", "1.5"], /--seed takes a whole number/],
    [["--block", "64"], /--block sets how many queries .* Leave it out, or convert with --features exact/],
    [["--block", "0", "--features", "exact"], /--block/],
    [["--keep", "first"], /--keep takes layers such as 0,1/],
    [["--keep", "2-1"], /--keep takes layers such as 0,1/],
    [["--keep", "0,4"], /--keep names layer 4, but the model's attention is in layers 0 to 3/],
    [["--growth", "tile"], /--growth says how --max-length grows/],
    [["--features", "trigonometric", "--calibrate", validation], /trigonometric attention has nothing to calibrate/],
    [["stray"], /"stray": unexpected here/],
    [["--evaluate-count", "10"], /pass its file with --evaluate/],
    [["--calibrate-count", "10", "--evaluate", validation], /pass its file with --calibrate/],
    [["--column", "text"], /--column names a column of a data file/],
    [["--truncate"], /--truncate cuts sequences of a data file/],
    [["--revision", "v2"], /--revision names a version on the Hub, but .* is on this machine/],
  ])("%j", async (options, message) => {
    const output = join(await temporaryFolder(), "out");
    const answer = await favorConvert(tiny, "-o", output, "--quiet", ...options);
    expect(answer).toMatchObject({ status: 2, stdout: "" });
    expect(answer.stderr).toMatch(message);
    expect(existsSync(output)).toBe(false);
  });

  test("no output, no source, an existing output, the source as output", async () => {
    expect(await favorConvert(tiny, "--quiet")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("-o <dir>") as string,
    });
    expect(await favorConvert()).toMatchObject({
      status: 2,
      stderr: "favor-convert: <source> is missing. See favor-convert --help.\n",
    });
    expect((await favorConvert("verify", "a")).stderr).toContain("<converted> is missing");
    expect((await favorConvert("verify")).stderr).toContain("<original> and <converted> are missing");
    expect((await favorConvert("inspct", tiny)).stderr).toContain('Unknown command "inspct" (did you mean inspect?)');
    const existing = join(await temporaryFolder(), "out");
    await mkdir(existing);
    expect(await favorConvert(tiny, "-o", existing, "--quiet")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("pass --force to replace it") as string,
    });
    await writeFile(join(existing, "mine"), "");
    const mine = await favorConvert(tiny, "-o", existing, "--quiet");
    expect(mine.stderr).toMatch(/exists and is not a folder that favor-convert wrote .* Name another folder after -o/);
    const file = await favorConvert(tiny, "-o", join(existing, "mine"), "--quiet");
    expect([mine.status, file.status]).toEqual([2, 2]);
    expect(file.stderr).toMatch(/exists and is a file/);
    expect(await favorConvert(tiny, "-o", tiny, "--force", "--quiet")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("is the source itself") as string,
    });
  });
});

test("options for folders beside one file, and verify's column without data: exit code 2", async () => {
  const file = join(tiny, "onnx", "model.onnx");
  const dtype = await favorConvert("inspect", file, "--dtype", "fp16", "--quiet");
  expect(dtype.status).toBe(2);
  expect(dtype.stderr).toMatch(/--file and --dtype choose among a folder's models, but .* is a single file/);
  expect((await favorConvert("inspect", file, "--file", "onnx/model.onnx", "--quiet")).status).toBe(0);
  expect((await favorConvert("verify", tiny, tiny, "--column", "text", "--quiet")).status).toBe(2);
});

test("a data file in the model's place", async () => {
  const message = await refused(3, validation, "--evaluate", validation);
  expect(message).toMatch(/validation\.fasta is not a model: .* Pass data files with --calibrate or --evaluate\.\n$/);
});

test("damaged and binary data files: what to do is not to correct a line", async () => {
  const cut = gzipSync(">a\nQVQLV\n".repeat(200)).subarray(0, 40);
  const gzip = await refused(3, tiny, "--evaluate", await temporaryFile("x.fasta.gz", cut));
  expect(gzip).toMatch(/gzip stream is damaged or cut off.*Get or compress the file again\.\n$/);
  const binary = await refused(3, tiny, "--evaluate", await temporaryFile("x.txt", Uint8Array.of(65, 0, 66, 10)));
  expect(binary).toMatch(/not a text file\. Give a file of FASTA, text, JSON Lines, JSON, CSV, TSV or Parquet/);
  const latin = await refused(3, tiny, "--evaluate", await temporaryFile("x.txt", Uint8Array.of(65, 0xe9, 66, 10)));
  expect(latin).toMatch(/not UTF-8\. Save it as UTF-8/);
});

test("--json: nothing but JSON on stdout, for errors too", async () => {
  const answer = await favorConvert("/nowhere", "-o", "/tmp/never", "--json");
  expect(answer.status).toBe(3);
  expect(JSON.parse(answer.stdout)).toEqual({
    error: {
      code: "file-unreadable",
      message: expect.stringContaining("/nowhere does not exist") as string,
      details: { path: "/nowhere" },
    },
  });
  const usage = await favorConvert(tiny, "--json", "--nonsense");
  expect(JSON.parse(usage.stdout)).toMatchObject({ error: { code: "bad-arguments" } });
});
