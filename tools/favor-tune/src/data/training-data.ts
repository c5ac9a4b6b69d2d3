import { RandomStream, streamPurpose } from "@favor/core";
import { cutSequence } from "@favor/measure/tokens";
import { malformed, readRecords } from "@favor/measure/data";
import type { DataRecord } from "@favor/measure/data";
import type { SequenceTokenizer, TokenSequence } from "@favor/measure/tokens";

import { TrainingError } from "../errors.ts";
import { recordHash } from "./record-hash.ts";
import type { ScannedData } from "./scan.ts";

/** Where in the data a run stands: all that it needs to go on with the very next batch. */
export interface DataPosition {
  /** Times that all data has been seen. */
  readonly epoch: number;
  /** Readings of the file done in this epoch. */
  readonly pass: number;
  /** Batches done of the pass. */
  readonly batch: number;
}

export const start: DataPosition = { epoch: 0, pass: 0, batch: 0 };

/** A batch, and the position of the one after it. */
export interface DataBatch {
  readonly sequences: readonly TokenSequence[];
  readonly epoch: number;
  readonly next: DataPosition;
}

export interface BatchOptions {
  readonly tokenizer: SequenceTokenizer;
  /** Longer sequences are cut; undefined: no bound. */
  readonly maximumTokens: number | undefined;
  /** Sequences a batch. */
  readonly batch: number;
  readonly seed: number;
  /** Records that are in memory at a time, about; default 65,536. */
  readonly recordsAtOnce?: number;
}

/** Characters that are in memory at a time, about. */
const charactersAtOnce = 1 << 26;
/** Batches among which sequences are sorted by length. */
const bucket = 16;
/** Stream numbers of the order of the records and of the batches, beside those of favor-convert. */
const orderStream = 3;
const bucketStream = 4;

/**
 * Endless batches in random order, each epoch in another, without the file in memory: every record draws a number in
 * [0, 1) and pass p of P takes those in [p / P, (p + 1) / P), sorted. That is a uniform shuffle of the whole file at the
 * price of reading it P times an epoch. Sequences of {@link bucket} batches at a time are sorted by length, so that little
 * is padded. Order and batches depend on the file, the seed and the batch size alone.
 *
 * @param from - where to begin; the batches before are neither tokenised nor given.
 * @throws {InputError} `data-malformed`, naming the line, where a sequence is no text of the tokenizer's; {TrainingError}
 * `data-changed` where the file has other records than when it was scanned.
 */
export async function* batchesFrom(
  from: DataPosition,
  data: ScannedData,
  options: BatchOptions,
): AsyncGenerator<DataBatch, never> {
  const { recordsAtOnce = 65_536 } = options;
  const passes = Math.max(Math.ceil(data.records / recordsAtOnce), Math.ceil(data.characters / charactersAtOnce));
  let { epoch, pass, batch: skipped } = from;
  for (;;) {
    const records = await recordsOf(epoch, pass, passes, data, options.seed);
    const random = new RandomStream({
      seed: options.seed,
      purpose: streamPurpose.sampling,
      layer: bucketStream,
      epoch: epoch * passes + pass,
    });
    let batch = 0;
    for (let at = 0; at < records.length; at += bucket * options.batch) {
      const group = records.slice(at, at + bucket * options.batch);
      const order = shuffled(Math.ceil(group.length / options.batch), random);
      if (batch + order.length <= skipped) {
        batch += order.length;
        continue;
      }
      const sequences = group
        .map((record) => sequenceOf(record, data.path, options))
        .toSorted((a, b) => a.ids.length - b.ids.length);
      for (const index of order) {
        batch++;
        if (batch <= skipped) continue;
        yield { sequences: share(sequences, index, order.length), epoch, next: { epoch, pass, batch } };
      }
    }
    skipped = 0;
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

/** The file is read again for every pass: it must be what was read at the beginning. */
function changed({ path, records }: ScannedData, found: number): TrainingError {
  return new TrainingError(
    `${path} was changed while it was trained on: it has ${found} records to train on, and had ${records}. What was trained ` +
      `up to the last checkpoint is kept: put the file back and run the same command with --resume, or begin anew.`,
    { code: "data-changed", details: { path, found, records } },
  );
}

/**
 * A record as the model reads it, cut to the longest that it takes.
 *
 * @throws {InputError} `data-malformed`, naming the line.
 */
export function sequenceOf(
  record: DataRecord,
  path: string,
  { tokenizer, maximumTokens = Infinity }: Pick<BatchOptions, "tokenizer" | "maximumTokens">,
): TokenSequence {
  const sequence = tokenizer.encode(record, path);
  if (sequence.unknown * 2 > sequence.ids.length) {
    const what = `${sequence.unknown} of ${sequence.ids.length} tokens are unknown to the tokenizer`;
    throw malformed(path, record.line, what);
  }
  return sequence.ids.length <= maximumTokens ? sequence : cutSequence(sequence, maximumTokens, tokenizer);
}

/** Part `index` of `count` parts whose sizes differ by at most one. */
function share<T>(items: readonly T[], index: number, count: number): T[] {
  return items.slice(Math.floor((index * items.length) / count), Math.floor(((index + 1) * items.length) / count));
}

/** 0 to count - 1 in random order (Fisher-Yates). */
function shuffled(count: number, random: RandomStream): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
