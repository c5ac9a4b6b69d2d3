import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

import { describe, expect, test } from "vitest";

import { readRecords } from "../../src/data/data-file.ts";
import { temporaryFile } from "@favor/test-support/temporary-folder";

type Found = readonly { readonly text: string; readonly line: number }[];

async function read(name: string, contents: string | Uint8Array, column?: string): Promise<Found> {
  const records = [];
  for await (const { text, line } of readRecords(await temporaryFile(name, contents), { column }))
    records.push({ text, line });
  return records;
}

const textsOf = async (...given: Parameters<typeof read>): Promise<string[]> =>
  (await read(...given)).map(({ text }) => text);

describe("CSV and TSV", () => {
  test("the column text, without the header and the ids; quoted fields, by the line where a row ends", async () => {
    const table = '\uFEFFid,text\r\n1,"a, ""b"""\r\n\r\n2,"two\r\nlines"\r\n';
    expect(await read("x.csv", table)).toEqual([
      { text: 'a, "b"', line: 2 },
      { text: "two\nlines", line: 5 },
    ]);
  });

  test.each([
    ["tabs", "x.tsv", "id\ttext\n1\ta\n2\tb, c\n"],
    ["semicolons", "x.csv", "id;text\n1;a\n2;b, c\n"],
    ["tabs in a .csv", "x.csv", "id\ttext\n1\ta\n2\tb, c\n"],
    ["gzip", "x.csv.gz", gzipSync('id,text\n1,a\n2,"b, c"\n')],
    ["carriage returns alone", "x.csv", 'id,text\r1,a\r2,"b, c"\r'],
    ["no last line end", "x.tab", "text\tid\na\t1\nb, c\t2"],
  ])("with %s", async (_, name, contents) => {
    expect(await textsOf(name, contents)).toEqual(["a", "b, c"]);
  });

  test("the column that is named, else text, else sequence", async () => {
    expect(await textsOf("x.csv", "text,other\na,b\n", "other")).toEqual(["b"]);
    expect(await textsOf("x.csv", "id,sequence\n1,QV\n")).toEqual(["QV"]);
    await expect(read("x.csv", "id,label\n1,2\n")).rejects.toThrow(
      /no column of text named text or sequence\. Its columns: id, label\. Choose the one with the sequences with --column/,
    );
    await expect(read("x.tsv", "id\ttext\n1\ta\n", "body")).rejects.toMatchObject({ code: "column-unknown" });
  });

  test.each([
    ["text,id\na,1\nb\n", /line 3: the row has another number of fields/],
    ['text,id\n"a,1\nb,2\n', /line \d: a quote is not closed/],
    ['text,id\na "b" c,1\n', /line 2: a quote stands inside a field/],
    ['text,id\n"a" b,1\n', /line 2: a quoted field goes on after its closing quote/],
    ["text,id\n ,1\n", /line 2: the column "text" is empty/],
    ["text,text\na,b\n", /line 1: two columns are named "text"/],
  ])("refused by line: %j", async (contents, message) => {
    await expect(read("x.csv", contents)).rejects.toThrow(message);
  });

  test("a table that is named .txt is not taken for texts", async () => {
    const table = "id\tlabel\ttext\n0\t1\ta\n1\t0\tb\n2\t0\tc\n";
    await expect(read("x.txt", table)).rejects.toThrow(
      /line 1: each line has 3 fields separated by tabs.*Name the file \.tsv/,
    );
    expect(await textsOf("x.txt", "a\tb\nc\nd\ne\n")).toHaveLength(4);
  });

  test.each([
    ['id,text,label\n1,a b,0\n2,"c, d",1\n', /each line has 3 fields separated by commas.*Name the file \.csv/],
    [Array.from({ length: 9 }, (_, i) => `${i} a,b\n`).join(""), /2 fields separated by commas/],
    ["1\ta b\t0\n2\tc\t1\n", /3 fields separated by tabs.*Name the file \.tsv/],
    [">one\nEVQLV\n>two\nQVQ\n", /as in FASTA\. Name the file \.fasta/],
  ])("neither is another format: %j", async (contents, message) => {
    await expect(read("x.txt", contents)).rejects.toThrow(message);
    await expect(read("x.text", contents)).rejects.toThrow(message);
  });

  test.each(["yes, no\nno, yes\nwell, well\n", "> quoted\n> words\n", "a\tb\n", "one, two\nthree\n"])(
    "prose is text: %j",
    async (contents) => {
      expect(await textsOf("x.txt", contents)).toHaveLength(contents.trim().split("\n").length);
    },
  );

  test("a file without rows has no records", async () => {
    expect(await read("x.csv", "text\n")).toEqual([]);
    expect(await read("x.csv", "")).toEqual([]);
  });
});

describe("JSON", () => {
  test.each([
    ["x.json", '[{"text":"a","id":1},{"text":"b"}]'],
    ["x.json", '[\n  {"text": "a"},\n  {"text": "b"}\n]\n'],
    ["x", '[{"text":"a"},\n{"text":"b"}]'],
    ["x.json.gz", gzipSync('["a","b"]')],
    ["x.json", '{"text":"a"}\n{"text":"b"}\n'],
  ])("an array, or objects line by line: %s", async (name, contents) => {
    expect(await textsOf(name, contents)).toEqual(["a", "b"]);
  });

  test("the field that is named, else text, else sequence, in both forms", async () => {
    expect(await textsOf("x.json", '[{"text":"a","body":"b"}]', "body")).toEqual(["b"]);
    expect(await textsOf("x.json", '[{"sequence":"a"}]')).toEqual(["a"]);
    expect(await textsOf("x.jsonl", '{"sequence":"a"}\n{"sequence":"b"}\n')).toEqual(["a", "b"]);
  });

  test.each([
    ['[{"text":"a"},{"texts":"b"}]', /item 2: there is no string field "text"/],
    ['[{"text":1,"label":"x"}]', /no column of text named text or sequence\. Its columns: text \(not text\), label/],
    ['[{"text":""}]', /item 1: the field "text" is empty/],
    ["[1, 2]", /item 1: it is neither an object nor a string/],
    ['[{"text":"a"}', /is not JSON/],
    ['{\n "data": [{"text": "a"}]\n}', /is one JSON object, with the array "data" inside, not an array of records/],
  ])("refused: %j", async (contents, message) => {
    await expect(read("x.json", contents)).rejects.toThrow(message);
  });

  test("a text that begins with a bracket is a text", async () => {
    expect(await textsOf("x", "[CLS] a\nb\n")).toEqual(["[CLS] a", "b"]);
  });
});

describe("a carriage return alone ends a line", () => {
  test("in FASTA and in text, and lines are counted by it", async () => {
    expect(await read("x.fasta", ">a\rQV\rQL\r>b\rEV\r")).toEqual([
      { text: "QVQL", line: 1 },
      { text: "EV", line: 4 },
    ]);
    expect(await read("x.txt", "a\rb\r\nc\n\rd")).toEqual([
      { text: "a", line: 1 },
      { text: "b", line: 2 },
      { text: "c", line: 3 },
      { text: "d", line: 5 },
    ]);
  });

  test("also where the chunks of the file divide it from a line feed", async () => {
    const long = "a".repeat(256 * 1024 - 1);
    expect(await read("x.txt", `${long}\r\nb\r${long}\rc`)).toEqual([
      { text: long, line: 1 },
      { text: "b", line: 2 },
      { text: long, line: 3 },
      { text: "c", line: 4 },
    ]);
  });
});

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");

describe("formats that are not read are refused by name", () => {
  test.each([
    ["x.fasta.xz", latin1("\xFD7zXZ\0\0\x04"), /is an xz-compressed file.*Unpack it \(xz -dk\)/],
    ["x.txt", latin1("BZh91AY&SY"), /is a bzip2-compressed file/],
    ["x.txt", latin1("\x28\xB5\x2F\xFD\0"), /is a Zstandard-compressed file/],
    ["x.txt.bz2", "plain after all", /is named \.bz2/],
    ["x.gz", gzipSync(gzipSync("a\n")), /is a file that is compressed by gzip twice inside a gzip file/],
    ["x.txt.gz", gzipSync("%PDF-1.7\n"), /is a PDF document inside a gzip file/],
    ["x.zip", latin1("PK\x03\x04"), /is a ZIP archive or an Office document/],
    ["x.tar", Buffer.concat([Buffer.alloc(257), latin1("ustar")]), /is a tar archive/],
    ["x.txt", latin1("\xFF\xFEa\0\n\0"), /is text in UTF-16/],
    ["x.arrow", latin1("ARROW1\0\0"), /is an Arrow file.*Parquet/],
    ["x.txt", "# STOCKHOLM 1.0\ns0 QV\n//\n", /is a Stockholm alignment.*Convert it to FASTA/],
    ["x.sto.gz", gzipSync("# STOCKHOLM 1.0\ns0 QV\n//\n"), /is a Stockholm alignment inside a gzip file/],
    ["x.aln", "CLUSTAL W (1.83)\n\ns0 QV\n", /is a Clustal alignment/],
    ["x.txt", "#NEXUS\nbegin data;\n", /is a NEXUS file/],
    ["x.phy", "2 4\ns0 QVQL\ns1 QVQL\n", /is named \.phy/],
    ["x.txt", "@read1\nACGT\n+\nIIII\n", /is a FASTQ file/],
    ["x.fasta", ">P1;CRAB_ANAPL\nalpha crystallin\nMDIT*\n", /is a PIR \(NBRF\) file/],
    ["x.txt", "LOCUS       AB000001     368 aa\n", /is a GenBank file/],
    ["x.txt", "ID   CRAB_ANAPL  Reviewed; 174 AA.\n", /is a UniProt or EMBL flat file/],
    ["x.txt", "\uFEFF<?xml version='1.0'?>\n<a/>\n", /is an XML or HTML document/],
    ["x", "<!DOCTYPE html>\n<html>\n", /is an XML or HTML document/],
    ["x.yaml", "- a\n- b\n", /is named \.yaml/],
    ["x.txt", "{\\rtf1 a}\n", /is a Rich Text document/],
    ["x.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", /is a Git LFS pointer.*git lfs pull/],
  ])("%s", async (name, contents, message) => {
    const failure = await read(name, contents).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "data-malformed", message: expect.stringMatching(message) as string });
    expect((failure as Error).message).toContain("Favor reads FASTA, text, JSON Lines, JSON, CSV, TSV or Parquet");
  });
});

const caseFile = (name: string): URL => new URL(`cases/data-of-other-formats/${name}`, import.meta.url);
const inCase = async (name: string): Promise<string[]> => textsOf(name, await readFile(caseFile(name)));

describe("the case data-of-other-formats", () => {
  test("60 texts of a table, no header and no ids", async () => {
    const [csv, tsv] = [await inCase("table.csv"), await inCase("table.tsv")];
    expect(csv).toHaveLength(60);
    expect(csv).toEqual(tsv);
    expect(csv[0]).toBe("being each its time for on to she school three away long get enough used between how world");
  });

  test("lines that end in CR alone hold the same sequences", async () => {
    expect(await inCase("mac.fasta")).toEqual(await inCase("expected.fasta"));
    expect(await inCase("mac.fasta")).toHaveLength(60);
  });

  test("an alignment and a compressed file are refused by name", async () => {
    await expect(inCase("alignment.sto")).rejects.toThrow("is a Stockholm alignment");
    await expect(inCase("sequences.fasta.xz")).rejects.toThrow("is an xz-compressed file");
  });
});
