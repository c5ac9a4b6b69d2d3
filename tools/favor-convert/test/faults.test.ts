import { PassThrough } from "node:stream";

import { describe, expect, test } from "vitest";

import { readRecords } from "../src/data/data-file.ts";
import { progressOn } from "../src/progress/progress.ts";
import { temporaryFile } from "./temporary-folder.ts";

describe("data that is none", () => {
  // Magic bytes, a page of thrift, the length of the footer, magic bytes.
  const parquet = Buffer.from("PAR1\x15\x04\x15\x10\x15\x14\x4c\x15\x02\0\0\0PAR1", "latin1");

  test.each([
    ["whole", parquet],
    ["cut off", parquet.subarray(0, 12)],
    ["of damaged length", Buffer.concat([parquet.subarray(0, -8), Buffer.alloc(8, 0xff)])],
  ])("fault 99: Parquet, %s, is refused by name", async (_, bytes) => {
    for (const name of ["train.parquet", "train.txt", "train.fasta", "train.jsonl"]) {
      const read = readRecords(await temporaryFile(name, bytes)).next();
      await expect(read).rejects.toThrow(/is a Parquet file\. Give a FASTA, text or JSON Lines file/);
    }
  });
});

describe("fault 104: progress has no colour, with or without a terminal", () => {
  test.each<[boolean, Record<string, string>]>([
    [true, {}],
    [true, { NO_COLOR: "1" }],
    [true, { TERM: "dumb" }],
    [false, { FORCE_COLOR: "1" }],
  ])("terminal: %s, environment: %j", (isTTY, environment) => {
    const stream = Object.assign(new PassThrough(), { isTTY, columns: 80, cursorTo: () => {}, clearLine: () => {} });
    const progress = progressOn(stream, environment);
    progress.stage("Reading");
    progress.stage("Counting", 4);
    progress.advance(2);
    progress.note("A note.");
    progress.end();
    const text = String(stream.read());
    expect(text).toContain("Reading ...");
    expect(text).toContain("A note.");
    const sequences = text.split("\u001B[").slice(1);
    // "m" ends a sequence that sets a colour; a bar that moves takes others.
    expect(sequences.filter((sequence) => /^[\d;]*m/.test(sequence))).toEqual([]);
    expect(sequences.length > 0).toBe(isTTY && environment["TERM"] !== "dumb");
  });
});
