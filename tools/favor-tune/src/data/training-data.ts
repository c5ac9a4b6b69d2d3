import { RandomStream, streamPurpose } from "@favor/core";
import { readRecords } from "@favor/measure/data";
import type { DataRecord } from "@favor/measure/data";
import type { TokenSequence } from "@favor/measure/tokens";

import { TrainingError } from "../errors.ts";
import { arranged } from "./arranged.ts";
import type { Arrangement } from "./arranged.ts";
import { recordHash } from "./record-hash.ts";
import type { ScannedData } from "./scan.ts";

/** The position of a run in the data, from which it can continue with the next batch. */
export interface DataPosition {
  /** Number of times that all data has been seen. */
  readonly epoch: number;
  /** Finished passes over the file in this epoch. */
  readonly pass: number;
  /** The record of the pass with which the current group of batches begins. */
  readonly record: number;
  /** Finished batches of that group. */
  readonly batch: number;
}

export const start: DataPosition = { epoch: 0, pass: 0, record: 0, batch: 0 };

/** A batch and the position of the next one. */
export interface DataBatch {
  readonly sequences: readonly TokenSequence[];
  readonly epoch: number;
  readonly next: DataPosition;
}

export interface BatchOptions extends Arrangement {
  /** Sequences per batch. */
  readonly batch: number;
  /** Approximate number of records in memory at a time; default 65,536. */
  readonly recordsAtOnce?: number;
}

/** Approximate number of characters in memory at a time. */
const charactersAtOnce = 1 << 26;
/** Number of batches among which sequences are sorted by length. */
const bucket = 16;
/** Stream numbers of the order of records and batches; different from those of favor-convert. */
const orderStream = 3;
const bucketStream = 4;

/**
 * Yields endless batches in random order, a new order each epoch, without holding the file in memory. Every record draws a
 * number in [0, 1), and pass p of P takes those in [p / P, (p + 1) / P), sorted. This shuffles the whole file uniformly at
 * the cost of reading it P times per epoch. Groups of about {@link bucket} batches are sorted by length to reduce padding.
 * Order and batches depend only on the file and the options.
 *
 * @param from - where to begin; records of earlier groups are not tokenised.
 * @throws {InputError} `data-malformed`, naming the line, if the tokenizer cannot read a sequence; {TrainingError}
 * `data-changed` if the file no longer has the records that were scanned.
 */
export async function* batchesFrom(
  from: DataPosition,
  data: ScannedData,
  options: BatchOptions,
): AsyncGenerator<DataBatch, never> {
  const { recordsAtOnce = 65_536 } = options;
  const passes = Math.max(Math.ceil(data.records / recordsAtOnce), Math.ceil(data.characters / charactersAtOnce));
  const { batch: size, seed } = options;
  let { epoch, pass, record: first, batch: skipped } = from;
  for (;;) {
    const records = await recordsOf(epoch, pass, passes, data, seed);
    while (first < records.length) {
      const { sequences, next } = arranged(records, first, bucket * size, data.path, epoch, options);
      const random = new RandomStream({
        seed,
        purpose: streamPurpose.sampling,
        layer: bucketStream,
        // Of a pass, no two groups begin with the same record.
        head: first % 65_536,
        epoch: epoch * passes + pass,
      });
      const count = Math.ceil(sequences.length / size);
      const order = random.permutation(count);
      // The windows of a document are of one length: they must not make up a batch.
      const sorted = Array.from(random.permutation(sequences.length), (index) => sequences[index]!).toSorted(
        (a, b) => a.ids.length - b.ids.length,
      );
      for (const [i, index] of order.entries()) {
        if (i < skipped) continue;
        const position = i + 1 < count ? { record: first, batch: i + 1 } : { record: next, batch: 0 };
        yield { sequences: share(sorted, index, count), epoch, next: { epoch, pass, ...position } };
      }
      skipped = 0;
      first = next;
    }
    first = 0;
    pass = (pass + 1) % passes;
    if (pass === 0) epoch++;
  }
}

async function recordsOf(
  epoch: number,
  pass: number,
  passes: number,
  data: ScannedData,
  seed: number,
): Promise<DataRecord[]> {
  const random = new RandomStream({ seed, purpose: streamPurpose.sampling, layer: orderStream, epoch });
  let trained = 0;
  const taken: { readonly key: number; readonly record: DataRecord }[] = [];
  for await (const record of readRecords(data.path, { column: data.column })) {
    const key = random.uniform();
    if (!data.isTrained(recordHash(record.text))) continue;
    trained++;
    if (Math.floor(key * passes) === pass) taken.push({ key, record });
  }
  if (trained !== data.records) throw changed(data, trained);
  return taken.toSorted((a, b) => a.key - b.key).map(({ record }) => record);
}

/** The error for a file that changed: it is read again for every pass. */
function changed({ path, records }: ScannedData, found: number): TrainingError {
  return new TrainingError(
    `${path} was changed during training: it had ${records} records to train on, and now has ${found}. The last checkpoint ` +
      `is kept: restore the file and run the same command with --resume, or start over with --force.`,
    { code: "data-changed", details: { path, found, records } },
  );
}

/** Part `index` of `count` parts whose sizes differ by at most one. */
function share<T>(items: readonly T[], index: number, count: number): T[] {
  return items.slice(Math.floor((index * items.length) / count), Math.floor(((index + 1) * items.length) / count));
}
