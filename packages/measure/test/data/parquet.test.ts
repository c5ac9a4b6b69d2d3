import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";

import { readRecords } from "../../src/data/data-file.ts";
import { lineLimit } from "../../src/data/lines.ts";
import { loadSequences } from "../../src/tokens/load-sequences.ts";
import { loadTokenizer } from "../../src/tokens/load-tokenizer.ts";
import { tiny } from "@favor/test-support/antibody";
import { temporaryFile } from "@favor/test-support/temporary-folder";

type Columns = Parameters<typeof parquetWriteBuffer>[0]["columnData"];

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}.parquet`, import.meta.url));

function written(columnData: Columns, rowGroupSize = 1_000_000): Promise<string> {
  return temporaryFile("x.parquet", new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize })));
}

function nullable(data: (string | null)[]): Columns {
  return [{ name: "text", data, type: "STRING", nullable: true }];
}

async function read(path: string, column?: string): Promise<{ text: string; line: number }[]> {
  const records: { text: string; line: number }[] = [];
  for await (const { text, line } of readRecords(path, { column })) records.push({ text, line });
  return records;
}

describe("Parquet that pyarrow wrote", () => {
  const texts = ["QVQLVQSG", "EVQL", "DIVLTQ", "na\u00EFve \u{1F9EC}", "QVQLVQSG"];

  test.each(["snappy", "zstd", "gzip", "brotli", "plain"])("%s", async (name) => {
    expect(await read(fixture(name))).toEqual(texts.map((text, i) => ({ text, line: i + 1 })));
    expect((await read(fixture(name), "source")).map(({ text }) => text)).toEqual(["a", "b", "b", "c", "a"]);
  });

  test("a column that is missing or no text: those that are there are named", async () => {
    for (const column of ["text", "id"]) {
      await expect(read(fixture("snappy"), column)).rejects.toMatchObject({
        code: "column-unknown",
        message: expect.stringContaining("Its columns: id (not text), sequence, source.") as string,
      });
    }
    const none = await written([{ name: "name", data: ["a"] }]);
    await expect(read(none)).rejects.toThrow(/no column of text named text or sequence\. Its columns: name\./);
  });
});

test("text comes before sequence; many row groups and more rows than are decoded at a time", async () => {
  const data = Array.from({ length: 70_000 }, (_, i) => `row ${i + 1}`);
  const other = data.map(() => "other");
  const columns: Columns = [
    { name: "sequence", data: other },
    { name: "text", data },
  ];
  for (const groupSize of [70_000, 30_000]) {
    const records = await read(await written(columns, groupSize));
    expect(records.length).toBe(data.length);
    expect(records.every(({ text, line }) => text === `row ${line}`)).toBe(true);
  }
});

test("a row that is null, blank or too long is named", async () => {
  const path = await written(nullable(["a", null]));
  await expect(read(path)).rejects.toThrow(`${path}, row 2: the column "text" is empty. Correct or remove that row`);
  await expect(read(await written(nullable(["a", "b", " "])))).rejects.toThrow(/row 3: the column "text" is empty/);
  const long = "A".repeat(lineLimit + 1);
  await expect(read(await written(nullable([long])))).rejects.toThrow(/row 1: the column "text" is longer than/);
  const plain = await readFile(fixture("plain"), "latin1");
  const bytes = Buffer.from(plain.replaceAll("DIVLTQ", "\u00FF".repeat(6)), "latin1");
  await expect(read(await temporaryFile("x.parquet", bytes))).rejects.toThrow(/a text is not UTF-8/);
});

test("sequences are drawn from it; what is too long is named by its row", async () => {
  const path = await written([{ name: "seq", data: ["QVQL", "EVQLVQ"] }]);
  const tokenizer = await loadTokenizer(tiny);
  const options = { count: 2, seed: 0, maximumTokens: 8, longer: "refuse" as const, column: "seq" };
  const { sequences } = await loadSequences(path, tokenizer, options);
  expect(sequences.map(({ ids, line }) => [ids.length, line])).toEqual([
    [6, 1],
    [8, 2],
  ]);
  await expect(loadSequences(path, tokenizer, { ...options, maximumTokens: 7 })).rejects.toThrow(/row 2: the sequence/);
});
