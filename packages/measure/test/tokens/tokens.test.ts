import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import type { DataRecord } from "../../src/data/record.ts";
import { textRecord } from "../../src/data/record.ts";
import { checkVocabulary, loadSequences } from "../../src/tokens/load-sequences.ts";
import { loadTokenizer } from "../../src/tokens/load-tokenizer.ts";
import { tiny, validation } from "@favor/test-support/antibody";
import { temporaryFile, temporaryFolder } from "@favor/test-support/temporary-folder";

const residues = (text: string): DataRecord => ({ kind: "residues", text, line: 1, lineOf: () => 2 });

async function folderWith(files: Record<string, string>): Promise<string> {
  const folder = await temporaryFolder();
  for (const [name, contents] of Object.entries(files)) await writeFile(join(folder, name), contents);
  return folder;
}

describe("residues", () => {
  test("one token each, between the special tokens", async () => {
    const tokenizer = await loadTokenizer(tiny);
    expect(tokenizer.encode(residues("ACW"), "f")).toEqual({ ids: [2, 5, 6, 23, 3], line: 1, unknown: 0 });
    expect(tokenizer).toMatchObject({ size: 25, padId: 0, unknownId: 1, maskId: 4 });
    expect([...tokenizer.specialIds].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
  });

  test("U, Z, O, B, X become what the tokenizer says: here the unknown token", async () => {
    const tokenizer = await loadTokenizer(tiny);
    expect(tokenizer.encode(residues("AUZOBXA"), "f")).toMatchObject({ ids: [2, 5, 1, 1, 1, 1, 1, 5, 3], unknown: 5 });
  });

  test("lower case of a known residue is refused by line, not silently unknown", async () => {
    const tokenizer = await loadTokenizer(tiny);
    expect(() => tokenizer.encode(residues("ACa"), "f.fasta")).toThrow(
      'f.fasta, line 2: the vocabulary knows "A", not the lower-case "a": write the sequence in capitals',
    );
  });

  test("a vocabulary with its own X, without an unknown token: X is a token, U is refused by line", async () => {
    const folder = await folderWith({ "vocab.txt": "<cls>\n<pad>\n<eos>\nA\nC\nX\n<mask>\n" });
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer.encode(residues("ACX"), "f").ids).toEqual([0, 3, 4, 5, 2]);
    expect(tokenizer).toMatchObject({ padId: 1, maskId: 6, unknownId: undefined });
    expect(() => tokenizer.encode(residues("AU"), "f")).toThrow(
      'f, line 2: the tokenizer has no token for the residue "U"',
    );
  });
});

describe("vocab.txt alone", () => {
  test("of residues: the same ids as tokenizer.json", async () => {
    const vocabulary = await readFile(join(tiny, "vocab.txt"), "utf8");
    const bare = await loadTokenizer(await folderWith({ "vocab.txt": vocabulary }));
    const full = await loadTokenizer(tiny);
    for (const record of [residues("QVQLVQSGXW"), textRecord("QVQLVQSGXW", 1), textRecord("Q V[MASK]L", 1)]) {
      expect(bare.encode(record, "f")).toEqual(full.encode(record, "f"));
    }
    expect(bare.specialIds).toEqual(full.specialIds);
    expect(bare.maskId).toBe(4);
  });

  test("of words: WordPiece, lower-casing unless told otherwise", async () => {
    const vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\nthe\n!\n";
    const tokenizer = await loadTokenizer(await folderWith({ "vocab.txt": vocabulary }));
    expect(tokenizer.encode(textRecord("The unaffable!", 1), "f").ids).toEqual([2, 8, 5, 6, 7, 9, 3]);
    const cased = await folderWith({ "vocab.txt": vocabulary, "tokenizer_config.json": '{"do_lower_case": false}' });
    expect((await loadTokenizer(cased)).encode(textRecord("The un", 1), "f").ids).toEqual([2, 1, 5, 3]);
  });

  test("a repeated token is refused by line", async () => {
    await expect(loadTokenizer(await folderWith({ "vocab.txt": "[UNK]\nA\nC\nA\n" }))).rejects.toThrow(
      'line 4 repeats the token "A" of line 2',
    );
  });
});

describe("hostile and missing files", () => {
  test("a path inside tokenizer_config.json is never followed", async () => {
    const parent = await temporaryFolder();
    await mkdir(join(parent, "model"));
    await writeFile(join(parent, "secret.txt"), "[UNK]\nA\n");
    await writeFile(join(parent, "model", "tokenizer_config.json"), '{"vocab_file": "../secret.txt"}');
    await expect(loadTokenizer(join(parent, "model"))).rejects.toThrow("holds neither tokenizer.json nor vocab.txt");
  });

  test("an HTML page, a git-LFS pointer and the wrong shape are refused by name", async () => {
    for (const contents of [
      "<html>",
      "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
      "[]",
      '{"model":{}}',
    ]) {
      await expect(loadTokenizer(await folderWith({ "tokenizer.json": contents }))).rejects.toThrow(/tokenizer\.json/);
    }
  });

  test("a device is refused", async () => {
    const folder = await temporaryFolder();
    await symlink("/dev/zero", join(folder, "tokenizer.json"));
    await expect(loadTokenizer(folder)).rejects.toThrow("is not a regular file");
  });

  test("a vocabulary larger than the embedding is refused", async () => {
    const tokenizer = await loadTokenizer(tiny);
    expect(() => checkVocabulary(tokenizer, 25, tiny)).not.toThrow();
    expect(() => checkVocabulary(tokenizer, 24, tiny)).toThrow(/ids up to 24, but the model's embedding has 24 rows/);
  });
});

describe("loading sequences", () => {
  const options = { count: 100, seed: 0, maximumTokens: 512, longer: "refuse" as const };

  test("counts what it read", async () => {
    const tokenizer = await loadTokenizer(tiny);
    const { sequences, use } = await loadSequences(validation, tokenizer, options);
    expect(sequences).toHaveLength(100);
    expect(use).toMatchObject({ file: "validation.fasta", sequences: 100, unknown: 0, truncated: 0, seed: 0 });
    expect(use.tokens).toBe(sequences.reduce((sum, { ids }) => sum + ids.length, 0));
    expect(use.sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  test("a sequence longer than the positions is refused by line, or cut", async () => {
    const tokenizer = await loadTokenizer(tiny);
    const path = await temporaryFile("x.fasta", `>a\nACD\n>b\n${"A".repeat(20)}\n`);
    await expect(loadSequences(path, tokenizer, { ...options, maximumTokens: 10 })).rejects.toThrow(
      /x\.fasta, line 3: the sequence has 22 tokens, but the longest that is read here has 10: .*--max-length.*--truncate/,
    );
    const { sequences, use } = await loadSequences(path, tokenizer, {
      ...options,
      maximumTokens: 10,
      longer: "cut" as const,
    });
    expect(sequences[1]!.ids).toEqual([2, 5, 5, 5, 5, 5, 5, 5, 5, 3]);
    expect(use.truncated).toBe(1);
  });

  test("longer ones give windows that do not overlap, with special tokens at both ends", async () => {
    const tokenizer = await loadTokenizer(tiny);
    const letters = "ACDEFGHIKLMNPQRSTVWY";
    const long = Array.from({ length: 61 }, (_, i) => letters[(i * i + 3 * i) % 20]).join("");
    const path = await temporaryFile("x.fasta", `>a\nACD\n>b\n${long}\n`);
    const windows = { ...options, maximumTokens: 12, longer: "windows" as const };
    const { sequences, use } = await loadSequences(path, tokenizer, windows);
    const whole = (await loadSequences(path, tokenizer, options)).sequences[1]!.ids.slice(1, -1);
    expect(use).toMatchObject({ sequences: 7, windows: 6, windowTokens: 12, truncated: 0 });
    let end = 0;
    for (const { ids, line } of sequences.slice(1)) {
      expect([ids.length, ids[0], ids.at(-1), line]).toEqual([12, 2, 3, 3]);
      const part = ids.slice(1, -1).join(" ");
      const start = whole.findIndex((_, at) => at >= end && whole.slice(at, at + 10).join(" ") === part);
      expect(start).toBeGreaterThanOrEqual(end);
      end = start + 10;
    }
    expect((await loadSequences(path, tokenizer, windows)).sequences).toEqual(sequences);
    const few = (await loadSequences(path, tokenizer, { ...windows, count: 2 })).sequences;
    expect(few).toHaveLength(2);
    const moved = (await loadSequences(path, tokenizer, { ...windows, seed: 1 })).sequences;
    expect(moved).not.toEqual(sequences);
  });

  test("an empty file, and sequences that are mostly unknown, are refused", async () => {
    const tokenizer = await loadTokenizer(tiny);
    const load = async (contents: string): Promise<unknown> =>
      loadSequences(await temporaryFile("x.fasta", contents), tokenizer, options);
    await expect(load("\n")).rejects.toThrow("contains no sequences");
    await expect(load(">a\nXXXXXXXXXA\n")).rejects.toThrow("line 1: 9 of 12 tokens are unknown to the tokenizer");
  });
});
