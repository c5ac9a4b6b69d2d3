import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { loadTokenizer } from "@favor/measure/tokens";
import type { SequenceTokenizer } from "@favor/measure/tokens";
import { parquetWriteBuffer } from "hyparquet-writer";
import { beforeAll, describe, expect, test } from "vitest";

import { isHeldOut, recordHash } from "../../src/data/record-hash.ts";
import { hashesOf, scanData } from "../../src/data/scan.ts";
import type { ScannedData } from "../../src/data/scan.ts";
import { batchesFrom, start } from "../../src/data/training-data.ts";
import type { DataBatch, DataPosition } from "../../src/data/training-data.ts";
import { tiny } from "@favor/test-support/antibody";
import { temporaryFile } from "@favor/test-support/temporary-folder";

const letters = "ACDEFGHIKLMNPQRSTVWY";
/** Sequence number n: n in base 20, then a tail that gives every one another length. */
const residues = (n: number): string => letters[n % 20]! + letters[Math.floor(n / 20) % 20]! + "A".repeat(n % 37);
const fasta = (count: number): string => Array.from({ length: count }, (_, n) => `>${n}\n${residues(n)}\n`).join("");

let tokenizer: SequenceTokenizer;
beforeAll(async () => {
  tokenizer = await loadTokenizer(tiny);
});

const arrangement = { maximumTokens: 30, longer: "cut", pack: false, seed: 5 } as const;

async function take(data: ScannedData, count: number, from: DataPosition = start, batch = 16): Promise<DataBatch[]> {
  const batches: DataBatch[] = [];
  for await (const found of batchesFrom(from, data, { ...arrangement, tokenizer, batch })) {
    batches.push(found);
    if (batches.length === count) break;
  }
  return batches;
}

const options = { evaluated: undefined, count: 50, column: undefined };
const numbersTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
/** Whether a record is trained on: those with the lowest hashes choose the weights. */
const isNotOfLowest = (records: readonly number[], count: number): ((n: number) => boolean) => {
  const hashes = records.map((n) => recordHash(residues(n))).toSorted((a, b) => a - b);
  return (n) => recordHash(residues(n)) >= hashes[count]!;
};
const lines = (batches: readonly DataBatch[]): number[] =>
  batches.flatMap(({ sequences }) => sequences.map(({ line }) => line));

describe("batches", () => {
  test("an epoch has every record that is not held out once, in another order than the next", async () => {
    const path = await temporaryFile("train.fasta", fasta(400));
    const data = await scanData(path, options);
    const others = numbersTo(400).filter((n) => !isHeldOut(recordHash(residues(n))));
    const expected = others.filter(isNotOfLowest(others, 19));
    expect(data.records).toBe(expected.length);
    expect(data.excluded).toBe(400 - others.length);
    const steps = Math.ceil(data.records / 16);
    const [first, second] = [await take(data, steps), (await take(data, 2 * steps)).slice(steps)];
    for (const epoch of [first, second]) {
      expect(lines(epoch).toSorted((a, b) => a - b)).toEqual(expected.map((n) => 2 * n + 1));
    }
    expect(second.every(({ epoch }) => epoch === 1)).toBe(true);
    expect(lines(first)).not.toEqual(lines(second));
    // Not in the order of the file, and little padding: the batches are of like lengths.
    expect(lines(first.slice(0, 1)).toSorted((a, b) => a - b)).not.toEqual(lines(first).slice(0, 16));
    const padding = first.map(({ sequences }) => {
      const lengths = sequences.map(({ ids }) => ids.length);
      return Math.max(...lengths) - Math.min(...lengths);
    });
    expect(Math.max(...padding)).toBeLessThan(10);
    expect(Math.max(...first.flatMap(({ sequences }) => sequences.map(({ ids }) => ids.length)))).toBe(30);
  });

  test("go on from any position with the very next batch", async () => {
    const data = await scanData(await temporaryFile("train.fasta", fasta(100)), options);
    const all = await take(data, 15);
    for (const at of [0, 3, 5, 6, 11]) {
      const rest = await take(data, 15 - at - 1, all[at]!.next);
      expect(rest).toEqual(all.slice(at + 1));
    }
  });

  test("more records than are in memory at once: several passes, every record once", async () => {
    const count = 2500;
    const data = await scanData(await temporaryFile("train.fasta", fasta(count)), { ...options, evaluated: new Set() });
    const seen: number[] = [];
    let passes = 0;
    const some = { ...arrangement, tokenizer, maximumTokens: 8, batch: 64, recordsAtOnce: 1000 };
    for await (const { sequences, epoch, next } of batchesFrom(start, data, some)) {
      if (epoch > 0) break;
      seen.push(...sequences.map(({ line }) => line));
      passes = Math.max(passes, next.pass + 1);
    }
    const expected = numbersTo(count).filter(isNotOfLowest(numbersTo(count), options.count));
    expect(seen.toSorted((a, b) => a - b)).toEqual(expected.map((n) => 2 * n + 1));
    expect(passes).toBe(3);
  });
});

test("a column of Parquet gives the batches of the same lines of text", async () => {
  const sequences = Array.from({ length: 60 }, (_, n) => residues(n));
  const text = await scanData(await temporaryFile("train.txt", sequences.join("\n")), options);
  const columnData = [
    { name: "id", data: sequences.map((_, n) => n) },
    { name: "chain", data: sequences },
  ];
  const bytes = new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 25 }));
  const path = await temporaryFile("train.parquet", bytes);
  await expect(scanData(path, options)).rejects.toMatchObject({ code: "column-unknown" });
  const parquet = await scanData(path, { ...options, column: "chain" });
  expect([parquet.records, parquet.excluded]).toEqual([text.records, text.excluded]);
  expect(await take(parquet, 6)).toEqual(await take(text, 6));
});

test("a file that is changed while it is trained on", async () => {
  const path = await temporaryFile("train.fasta", fasta(60));
  const data = await scanData(path, options);
  await take(data, 1);
  for (const records of [30, 0]) {
    await writeFile(path, fasta(records));
    const details = { path, records: data.records };
    await expect(take(data, 1)).rejects.toMatchObject({ code: "data-changed", details });
  }
});

describe("held-out data", () => {
  test("copies of a sequence are on the same side, wherever they stand", async () => {
    const path = await temporaryFile("train.fasta", fasta(300) + fasta(300));
    const data = await scanData(path, options);
    const held = data.heldOut.map(({ text }) => text);
    expect(new Set(held).size).toBe(held.length);
    expect(held.every((text) => isHeldOut(recordHash(text)))).toBe(true);
    const trained = (await take(data, Math.ceil(data.records / 16))).flatMap(({ sequences }) => sequences);
    expect(trained.length).toBe(600 - data.excluded - 2 * data.validation.length);
    const chosenBy = data.validation.map(({ line }) => line);
    expect(chosenBy.length).toBeGreaterThan(0);
    expect(trained.filter(({ line }) => chosenBy.includes(line))).toEqual([]);
  });

  test("training leaves out what is in the evaluation file", async () => {
    const evaluated = await hashesOf(await temporaryFile("val.fasta", fasta(40)), undefined);
    const data = await scanData(await temporaryFile("train.fasta", fasta(100)), { ...options, evaluated });
    expect([data.records, data.excluded, data.heldOut.length, data.validation.length]).toEqual([57, 40, 0, 3]);
    const seen = lines(await take(data, 4));
    expect(Math.min(...seen)).toBeGreaterThan(80);
  });

  test("too little data is refused, and a bad record by its line", async () => {
    const two = await temporaryFile("two.fasta", ">a\nACDEF\n>b\nACDEG\n");
    await expect(scanData(two, options)).rejects.toMatchObject({ code: "data-too-small" });
    const equal = await temporaryFile("equal.fasta", `>a\nACDEF\n`.repeat(9));
    const all = scanData(equal, { ...options, evaluated: new Set() });
    await expect(all).rejects.toThrow(/all of its records to train on have the same text/);
    const bad = await temporaryFile("bad.fasta", `${fasta(50)}>bad\nACD1\n`);
    await expect(scanData(bad, options)).rejects.toMatchObject({ code: "data-malformed", details: { line: 102 } });
    const path = join(await temporaryFile("unknown.fasta", ""), "..", "unknown.fasta");
    await writeFile(path, `>lower\nacdefghi\n${fasta(60)}`);
    const data = await scanData(path, options);
    await expect(take(data, 5)).rejects.toMatchObject({ code: "data-malformed", details: { line: 2 } });
  });
});
