import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { PassThrough } from "node:stream";

import { describe, expect, test } from "vitest";

import { readRecords } from "@favor/measure/data";
import { InputError } from "@favor/checkpoints";
import { progressOn } from "@favor/command-line";
import { temporaryFile } from "@favor/test-support/temporary-folder";

async function all(path: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of readRecords(path, { column: "sequence" })) texts.push(text);
  return texts;
}

describe("data that is none", () => {
  const parquet = readFileSync(new URL("fixtures/snappy.parquet", import.meta.url));
  const footer = parquet.readUInt32LE(parquet.length - 8);

  function changed(at: number, ...bytes: number[]): Buffer {
    const copy = Buffer.from(parquet);
    copy.set(bytes, at);
    return copy;
  }

  test.each([
    ["nothing but magic bytes", Buffer.from("PAR1"), /its end is missing/],
    ["cut off", parquet.subarray(0, 1000), /its end is missing/],
    ["without its middle", Buffer.concat([parquet.subarray(0, 200), parquet.subarray(900)]), /damaged/],
    ["of a footer that is longer than the file", changed(parquet.length - 8, 0, 0, 1, 0), /metadata length 65536/],
    ["of a footer of 4 GB", changed(parquet.length - 8, 255, 255, 255, 255), /its footer claims 4294967295 bytes/],
    ["of a damaged footer", changed(parquet.length - 8 - footer, ...Array(40).fill(0xff)), /damaged/],
    ["of damaged pages", changed(4, ...Array(800).fill(0xff)), /damaged/],
    ["compressed in a way that we lack", readFileSync(new URL("fixtures/lz4.parquet", import.meta.url)), /LZ4_RAW/],
  ])("fault 99: Parquet, %s, is refused by name", async (_, bytes, message) => {
    for (const name of ["train.parquet", "train.txt"]) {
      const path = await temporaryFile(name, bytes);
      const error = await all(path).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "data-malformed", message: expect.stringMatching(message) as string });
      expect((error as Error).message).toContain(`${path} is a Parquet file that is damaged or not supported: `);
    }
  });

  test("other bytes in a Parquet file, one at a time: strings or a typed error", async () => {
    const path = await temporaryFile("train.parquet", parquet);
    const outcomes = new Map<string, number>();
    for (let at = 4; at < parquet.length; at += 2) {
      await writeFile(path, changed(at, [0x00, 0x7f, 0xff][(at / 2) % 3]!));
      const outcome = await all(path).then(
        (texts) => (texts.length <= 5 ? "read" : "rows that are not there"),
        (error: unknown) => (error instanceof InputError ? "refused" : String(error)),
      );
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    expect([...outcomes.keys()].toSorted()).toEqual(["read", "refused"]);
    expect(outcomes.get("refused")).toBeGreaterThan(100);
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
