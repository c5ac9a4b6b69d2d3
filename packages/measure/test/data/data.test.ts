import { gzipSync } from "node:zlib";

import { describe, expect, test } from "vitest";

import { readRecords } from "../../src/data/data-file.ts";
import { lineLimit } from "../../src/data/lines.ts";
import { sampleOf } from "../../src/data/sample.ts";
import { temporaryFile, temporaryFolder } from "@favor/test-support/temporary-folder";

async function read(name: string, contents: string | Uint8Array): Promise<{ text: string; line: number }[]> {
  const records: { text: string; line: number }[] = [];
  for await (const { text, line } of readRecords(await temporaryFile(name, contents))) records.push({ text, line });
  return records;
}

describe("FASTA", () => {
  test("sequences over several lines, CRLF, a byte-order mark, blank lines, comments and a final stop", async () => {
    const file = "\uFEFF>a first\r\nQVQL\r\n\r\nVQSG*\r\n; a comment\r\n>a first\r\nevql\r\n";
    expect(await read("x.fasta", file)).toEqual([
      { text: "QVQLVQSG", line: 1 },
      { text: "evql", line: 6 },
    ]);
  });

  test("compressed is told by its bytes, not by its name", async () => {
    expect(await read("x.fa", gzipSync(">a\nQVQL\n"))).toEqual([{ text: "QVQL", line: 1 }]);
    expect(await read("x.fasta.gz", ">a\nQVQL")).toEqual([{ text: "QVQL", line: 1 }]);
  });

  test("the line of every residue is known", async () => {
    const path = await temporaryFile("x.fasta", ">a\nQV\n\nQLX\n");
    for await (const record of readRecords(path)) {
      expect([0, 1, 2, 4].map((offset) => record.lineOf(offset))).toEqual([2, 2, 4, 4]);
    }
  });

  test.each([
    ["QVQL\n", /line 1: a FASTA file begins with a header/],
    [">a\nQV-QL\n", /line 2: "-" at column 3 is not a residue \(a gap/],
    [">a\nQV1\n", /line 2: "1" at column 3 is not a residue/],
    [">a\nQV*QL\n", /line 2: "\*" at column 3 is not a residue \(a stop/],
    [">a\nQV*\nQL\n", /line 2: there is a stop "\*" inside a sequence/],
    [">a\n>b\nQV\n", /line 1: the header has no sequence/],
    [">a\nQV\n>b\n", /line 3: the header has no sequence/],
    [`>a\n${"Q".repeat(lineLimit + 1)}`, /line 2: the line is longer than/],
    [">a\nQV\0QL\n", /line 1: the file contains zero bytes/],
  ])("refused by line: %j", async (contents, message) => {
    await expect(read("x.fasta", contents)).rejects.toThrow(message);
  });

  test("a ten-megabyte line and a sequence without end are refused before they fill memory", async () => {
    await expect(read("x.fasta", `>a\n${"Q".repeat(10_000_000)}\n`)).rejects.toThrow("line 2: the line is longer");
    await expect(read("x.fasta", `>a\n${`${"Q".repeat(1000)}\n`.repeat(1100)}`)).rejects.toThrow(
      "line 1050: the sequence is longer than",
    );
  });
});

test("text: one sequence a line, blank lines skipped", async () => {
  expect(await read("x.txt", "a b\n\n  \nc\r\n")).toEqual([
    { text: "a b", line: 1 },
    { text: "c", line: 4 },
  ]);
});

describe("JSON Lines", () => {
  test("the field text; the others are ignored", async () => {
    expect(await read("x.jsonl", '{"text":"a","id":1}\n\n{"text":"b\\n"}\n')).toEqual([
      { text: "a", line: 1 },
      { text: "b\n", line: 3 },
    ]);
  });

  test.each([
    ['{"text":"a"}\n{"tex', /line 2: this is not a JSON object/],
    ['{"texts":"a"}\n', /line 1: there is no string field "text"\. Name the field with --column: texts\.$/],
    ['{"id":7}\n', /line 1: there is no string field "text"\. Correct or remove that line/],
    ['{"__proto__":{"text":"a"}}\n', /line 1: there is no string field "text"/],
    ['["text"]\n', /line 1: there is no string field "text"/],
    ['{"text":1}\n', /line 1: there is no string field "text"/],
    ['{"text":" "}\n', /line 1: the field "text" is empty/],
  ])("refused by line: %j", async (contents, message) => {
    await expect(read("x.jsonl", contents)).rejects.toThrow(message);
  });
});

test("a file that is named .parquet but is not Parquet", async () => {
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
  for (const contents of ["", ">a\nQV\n", pointer]) {
    await expect(read("x.parquet", contents)).rejects.toThrow(/x\.parquet is named \.parquet, but does not begin/);
  }
});

test("without a known extension the first line tells the format", async () => {
  expect(await read("x", "\n>a\nQV\n")).toEqual([{ text: "QV", line: 2 }]);
  expect(await read("x", '{"text":"a"}\n')).toEqual([{ text: "a", line: 1 }]);
  expect(await read("x", "a\nb\n")).toHaveLength(2);
});

test.each([
  [
    "a gzip stream that is cut off",
    gzipSync(">a\nQVQL\n".repeat(1000)).subarray(0, 40),
    /gzip stream is damaged or cut/,
  ],
  ["a gzip header and rubbish", Buffer.from([0x1f, 0x8b, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), /gzip stream is damaged/],
  ["Latin-1", Buffer.from([0x3e, 0x61, 0xe9, 0x0a, 0x51]), /the text is not UTF-8/],
])("%s is refused", async (_, contents, message) => {
  await expect(read("x.fasta", contents)).rejects.toThrow(message);
});

test("a folder and a missing file are refused by name", async () => {
  const folder = await temporaryFolder();
  await expect(readRecords(folder).next()).rejects.toThrow(/is not a regular file|EISDIR/);
  await expect(readRecords(`${folder}/none.fasta`).next()).rejects.toThrow("none.fasta cannot be read");
});

async function* numbers(count: number): AsyncGenerator<number> {
  for (let i = 0; i < count; i++) yield i;
}

describe("sampling", () => {
  test("keeps the order, takes each item once, depends on the seed alone", async () => {
    const sample = await sampleOf(numbers(1000), 50, 7);
    expect(sample).toHaveLength(50);
    expect(new Set(sample).size).toBe(50);
    expect(sample).toEqual(sample.toSorted((a, b) => a - b));
    expect(await sampleOf(numbers(1000), 50, 7)).toEqual(sample);
    expect(await sampleOf(numbers(1000), 50, 8)).not.toEqual(sample);
    expect(await sampleOf(numbers(3), 50, 7)).toEqual([0, 1, 2]);
  });

  test("is uniform", async () => {
    const hits = Array.from({ length: 10 }, () => 0);
    for (let seed = 0; seed < 2000; seed++) for (const item of await sampleOf(numbers(10), 3, seed)) hits[item]!++;
    // Binomial(2000, 0.3): mean 600, standard deviation 20.5.
    for (const count of hits) expect(Math.abs(count - 600)).toBeLessThan(5 * 20.5);
  });
});
