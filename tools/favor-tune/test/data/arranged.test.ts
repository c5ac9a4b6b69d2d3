import { loadTokenizer } from "@favor/measure/tokens";
import type { SequenceTokenizer } from "@favor/measure/tokens";
import { readRecords } from "@favor/measure/data";
import type { DataRecord } from "@favor/measure/data";
import { beforeAll, expect, test } from "vitest";

import { arranged } from "../../src/data/arranged.ts";
import type { Arranged, Arrangement } from "../../src/data/arranged.ts";
import { batchesFrom, start } from "../../src/data/training-data.ts";
import type { DataBatch, DataPosition } from "../../src/data/training-data.ts";
import { scanData } from "../../src/data/scan.ts";
import { tiny } from "@favor/test-support/antibody";
import { temporaryFile } from "@favor/test-support/temporary-folder";

const letters = "ACDEFGHIKLMNPQRSTVWY";
const residues = (length: number, from: number): string =>
  Array.from({ length }, (_, i) => letters[(from + i * i) % 20]!).join("");
/** [CLS] and [SEP] stand around every sequence of this tokenizer. */
const [begin, separator] = [2, 3];

let tokenizer: SequenceTokenizer;
beforeAll(async () => {
  tokenizer = await loadTokenizer(tiny);
});

async function records(texts: readonly string[]): Promise<DataRecord[]> {
  const path = await temporaryFile("data.fasta", texts.map((text, i) => `>${i}\n${text}\n`).join(""));
  const found: DataRecord[] = [];
  for await (const record of readRecords(path, { column: undefined })) found.push(record);
  return found;
}

const idsOf = (text: string): number[] => Array.from(text, (letter) => tokenizer.vocabulary.get(letter)!);

async function arrange(texts: readonly string[], changed: Partial<Arrangement>, epoch = 0): Promise<Arranged> {
  const usual = { tokenizer, maximumTokens: 12, longer: "windows", pack: false, seed: 0 } as const;
  return arranged(await records(texts), 0, 1000, "data.fasta", epoch, { ...usual, ...changed });
}

test("packed windows are full, and hold every token once, with a separator where a sequence ends", async () => {
  const texts = [3, 25, 1, 9, 10, 30, 2].map(residues);
  const { sequences, next } = await arrange(texts, { pack: true });
  expect(next).toBe(texts.length);
  expect(sequences.every(({ ids }) => ids[0] === begin && ids.at(-1) === separator && ids.length <= 12)).toBe(true);
  // A window is short by a token where a separator would be its last; the last one is what is left.
  expect(sequences.slice(0, -1).every(({ ids }) => ids.length >= 11)).toBe(true);
  const inside = sequences.map(({ ids }) => ids.slice(1, -1));
  expect(inside.every((ids) => ids[0] !== separator && ids.at(-1) !== separator)).toBe(true);
  expect(inside.flat().filter((id) => id !== separator)).toEqual(idsOf(texts.join("")));
  expect(inside[0]).toEqual([...idsOf(texts[0]!), separator, ...idsOf(texts[1]!.slice(0, 6))]);
  expect(sequences.map(({ line }) => line).slice(0, 4)).toEqual([1, 3, 3, 5]);
});

test("a long sequence gives as many windows as it holds, others in each epoch; with truncate, its beginning", async () => {
  const texts = [residues(57, 1), residues(4, 2)];
  const parts = async (epoch: number): Promise<number[][]> =>
    (await arrange(texts, {}, epoch)).sequences.map(({ ids }) => ids.slice(1, -1));
  const whole = idsOf(texts[0]!).join();
  const first = await parts(0);
  expect(first.map((ids) => ids.length)).toEqual([10, 10, 10, 10, 10, 4]);
  for (const ids of first.slice(0, 5)) expect(whole).toContain(ids.join());
  expect(await parts(0)).toEqual(first);
  expect(await parts(1)).not.toEqual(first);
  const cut = (await arrange(texts, { longer: "cut" })).sequences.map(({ ids }) => ids.slice(1, -1));
  expect(cut).toEqual([idsOf(texts[0]!.slice(0, 10)), idsOf(texts[1]!)]);
});

async function take(path: string, options: Partial<Arrangement>, count: number, from: DataPosition = start) {
  const data = await scanData(path, { evaluated: new Set(), count: 1, column: undefined });
  const usual = { tokenizer, maximumTokens: 12, longer: "windows", pack: false, seed: 3, batch: 4 } as const;
  const batches: DataBatch[] = [];
  for await (const batch of batchesFrom(from, data, { ...usual, ...options })) {
    batches.push(batch);
    if (batches.length === count) break;
  }
  return batches;
}

test.each([{ pack: true }, { longer: "windows" as const }])(
  "batches of %j go on from any position with the very next one, and mix the windows of documents",
  async (options) => {
    const texts = Array.from({ length: 40 }, (_, i) => residues(i % 8 === 0 ? 200 : 5, i));
    const path = await temporaryFile("train.fasta", texts.map((text, i) => `>${i}\n${text}\n`).join(""));
    const all = await take(path, options, 60);
    expect(all.at(-1)!.epoch).toBeGreaterThan(0);
    for (const at of [0, 11, 17, 40]) {
      expect(await take(path, options, 60 - at - 1, all[at]!.next)).toEqual(all.slice(at + 1));
    }
    const lines = all.map(({ sequences }) => new Set(sequences.map(({ line }) => line)).size);
    expect(lines.filter((count) => count > 1).length).toBeGreaterThan(30);
  },
);
