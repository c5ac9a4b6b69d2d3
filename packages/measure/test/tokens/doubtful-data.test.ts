import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { doubtsAbout } from "../../src/tokens/doubtful-data.ts";
import { loadSequences } from "../../src/tokens/load-sequences.ts";
import { loadTokenizer } from "../../src/tokens/load-tokenizer.ts";
import { calibration, tiny, validation } from "@favor/test-support/antibody";
import { temporaryFile } from "@favor/test-support/temporary-folder";

const residues = "ACDEFGHIKLMNPQRSTVWY";

/** `count` sequences of `length` residues, all different, of the first `letters` of the alphabet. */
function fasta(count: number, length: number, letters: number = residues.length, prefix: string = ""): string {
  return Array.from({ length: count }, (_, i) => {
    const sequence = Array.from({ length }, (_unused, at) => residues[(at * (i + 1) + i) % letters]);
    return `>${i}\n${prefix}${sequence.join("")}\n`;
  }).join("");
}

/** Codes and messages of the doubts about these data. */
async function doubts(fitted: string, measured?: string, calibrateCount = 200): Promise<string[]> {
  const tokenizer = await loadTokenizer(tiny);
  const load = async (text: string) =>
    loadSequences(text.endsWith(".fasta") ? text : await temporaryFile("some.fasta", text), tokenizer, {
      count: calibrateCount,
      seed: 0,
      maximumTokens: undefined,
      longer: "refuse" as const,
    });
  const found = doubtsAbout({
    tokenizer,
    calibration: await load(fitted),
    evaluation: measured === undefined ? undefined : await load(measured),
    calibrateCount,
  });
  return found.map(({ code, message }) => `${code}: ${message}`);
}

describe("calibration data that are too few", () => {
  test("50 sequences and 5,000 tokens are enough, with [CLS] and [SEP]", async () => {
    expect(await doubts(fasta(50, 98))).toEqual([]);
    expect(await doubts(calibration, validation)).toEqual([]);
  });

  test.each([
    [49, 200, "49 sequences with 9898 tokens"],
    [50, 97, "50 sequences with 4950 tokens"],
    [1, 97, "1 sequence with 99 tokens"],
  ])("%d sequences of %d residues", async (count, length, found) => {
    const [doubt, ...others] = await doubts(fasta(count, length));
    expect(others).toEqual([]);
    expect(doubt).toMatch(/^calibration-small: /);
    expect(doubt).toContain(`sees only ${found} (some.fasta)`);
    expect(doubt).toContain("may do worse on other data. Name a larger file with --calibrate.");
  });

  test("where the file has more, the advice is to draw more", async () => {
    expect(await doubts(calibration, undefined, 20)).toEqual([
      expect.stringContaining("Raise --calibrate-count (now 20), or name a larger file with --calibrate.") as string,
    ]);
  });
});

describe("tokens that the tokenizer does not know", () => {
  // The sequences have 100 tokens each; the prefix is unknown to the tokenizer.
  test("5 of 100 are not doubtful, 6 of 100 are", async () => {
    expect(await doubts(fasta(60, 93, 20, "X".repeat(5)))).toEqual([]);
    expect(await doubts(fasta(60, 92, 20, "X".repeat(6)))).toEqual([
      expect.stringMatching(
        /^tokens-unknown: 360 of 6,000 tokens \(6\.0 %\) of some\.fasta .*features.*Check /,
      ) as string,
    ]);
  });

  test("evaluation data too", async () => {
    expect(await doubts(calibration, fasta(60, 50, 20, "X".repeat(6)))).toEqual([
      expect.stringMatching(/^tokens-unknown: .* the quality is measured on that/) as string,
    ]);
  });
});

test("of a small alphabet, 16 of 20 residues are enough and 15 are not; what is missing is named", async () => {
  expect(await doubts(fasta(60, 100, 16))).toEqual([]);
  expect(await doubts(fasta(60, 100, 15))).toEqual([
    expect.stringMatching(/^vocabulary-unseen: .* 15 of the vocabulary's 20 .*missing: S T V W Y\)/) as string,
  ]);
});

test("codes of ambiguous residues and gaps are no part of the alphabet that data should show", async () => {
  const vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ..."LAGVSERTIDPKQNFYMHWCXBUZO.-"];
  const tokenizer = await loadTokenizer(join(await temporaryFile("vocab.txt", vocabulary.join("\n")), ".."));
  const path = await temporaryFile("some.fasta", fasta(60, 100));
  const loaded = await loadSequences(path, tokenizer, {
    count: 60,
    seed: 0,
    maximumTokens: undefined,
    longer: "refuse" as const,
  });
  const data = { tokenizer, calibration: loaded, evaluation: undefined, calibrateCount: 60 };
  expect(doubtsAbout(data)).toEqual([]);
});

describe("evaluation on calibration data", () => {
  test("the same file, once even where its tokens are unknown", async () => {
    expect(await doubts(calibration, calibration)).toEqual([
      expect.stringMatching(/^evaluation-not-independent: --evaluate and --calibrate name the same data/) as string,
    ]);
    const odd = fasta(60, 92, 20, "X".repeat(6));
    const codes = (await doubts(odd, odd)).map((doubt) => doubt.split(":")[0]);
    expect(codes).toEqual(["tokens-unknown", "evaluation-not-independent"]);
  });

  test("another file with the same sequences: more than a tenth of them", async () => {
    const fitted = fasta(60, 100);
    const own = (count: number): string => fasta(count, 60).replaceAll(/^([A-Z]+)$/gm, "$1W");
    const shared = (count: number): string => fitted.split(/(?=>)/).slice(0, count).join("");
    expect(await doubts(fitted, shared(6) + own(54))).toEqual([]);
    expect(await doubts(fitted, shared(7) + own(53))).toEqual([
      expect.stringMatching(/^evaluation-not-independent: 7 of the 60 evaluation sequences/) as string,
    ]);
  });
});
