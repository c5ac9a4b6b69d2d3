import { basename } from "node:path";

import { hashFile } from "@favor/onnx/node";
import { readRecords } from "@favor/measure/data";
import type { DataRecord } from "@favor/measure/data";

import { TuneInputError } from "../errors.ts";
import { isHeldOut, recordHash, validationShare } from "./record-hash.ts";

/** What one pass over a data file found. */
export interface ScannedData {
  readonly path: string;
  /** Name of the file, without its folder. */
  readonly file: string;
  readonly sha256: string;
  readonly column: string | undefined;
  /** Number of records to train on. */
  readonly records: number;
  /** Characters in those records. */
  readonly characters: number;
  /** Number of records not to train on: held out, or also in the evaluation data. */
  readonly excluded: number;
  /** The records that weights are chosen by, which are not trained on either; each text once. */
  readonly validation: readonly DataRecord[];
  /** Whether a record of this hash is trained on. */
  isTrained(hash: number): boolean;
  /** The requested number of held-out records with the lowest hashes, each text once. */
  readonly heldOut: readonly DataRecord[];
}

export interface ScanOptions {
  /** Hashes of the evaluation data's records; if undefined, a part of this file is held out. */
  readonly evaluated: ReadonlySet<number> | undefined;
  /** How many held-out records to keep, and the most records to choose weights by. */
  readonly count: number;
  readonly column: string | undefined;
}

/**
 * Reads a data file once from beginning to end, so that its errors show before training. Counts the records, and holds
 * some out by the hash of their text, which keeps copies of a sequence together: those to measure on, and a part of the
 * others to choose weights by.
 *
 * @throws {TuneInputError} `data-too-small` if nothing is left to train on or to measure on; {InputError}
 * `data-malformed`, naming the line, `file-unreadable`.
 */
export async function scanData(path: string, { evaluated, count, column }: ScanOptions): Promise<ScannedData> {
  const isMeasured = (hash: number): boolean => (evaluated === undefined ? isHeldOut(hash) : evaluated.has(hash));
  const lowest = new LowestHashes(evaluated === undefined ? count : 0);
  const others = new LowestHashes(count);
  let [records, characters, excluded] = [0, 0, 0];
  for await (const record of readRecords(path, { column })) {
    const hash = recordHash(record.text);
    if (isMeasured(hash)) {
      excluded++;
      lowest.offer(hash, record);
    } else {
      records++;
      characters += record.text.length;
      others.offer(hash, record);
    }
  }
  if (records === 0 || (evaluated === undefined && excluded === 0)) throw tooSmall(path, records, excluded, evaluated);
  const validation = others.entries.slice(0, Math.max(1, Math.floor(validationShare * records)));
  for (const { copies, record } of validation) {
    records -= copies;
    characters -= copies * record.text.length;
  }
  if (records === 0) throw nothingBeside(path, validation.length);
  const chosenBy = new Set(validation.map(({ hash }) => hash));
  const sha256 = await hashFile(path);
  return {
    path,
    file: basename(path),
    sha256,
    column,
    records,
    characters,
    excluded,
    isTrained: (hash) => !isMeasured(hash) && !chosenBy.has(hash),
    heldOut: lowest.entries.map(({ record }) => record),
    validation: validation.map(({ record }) => record),
  };
}

/** The hashes of all records of a file. */
export async function hashesOf(path: string, column: string | undefined): Promise<ReadonlySet<number>> {
  const hashes = new Set<number>();
  for await (const record of readRecords(path, { column })) hashes.add(recordHash(record.text));
  return hashes;
}

/** A record, with the hash of its text and how often that text was seen. */
interface HashedRecord {
  readonly hash: number;
  readonly record: DataRecord;
  copies: number;
}

/** Keeps the records of the lowest hashes that it is offered. */
class LowestHashes {
  readonly #count: number;
  #entries: HashedRecord[] = [];

  constructor(count: number) {
    this.#count = count;
  }

  offer(hash: number, record: DataRecord): void {
    const last = this.#entries.at(-1);
    if (this.#entries.length >= this.#count && (last === undefined || hash > last.hash)) return;
    const at = this.#entries.findIndex((entry) => entry.hash >= hash);
    const found = this.#entries[at];
    if (found?.hash === hash) {
      found.copies++;
      return;
    }
    this.#entries.splice(at < 0 ? this.#entries.length : at, 0, { hash, record, copies: 1 });
    this.#entries.length = Math.min(this.#entries.length, this.#count);
  }

  /** The lowest first. */
  get entries(): readonly HashedRecord[] {
    return this.#entries;
  }
}

function nothingBeside(path: string, validation: number): TuneInputError {
  return new TuneInputError(
    `${path}: all of its records to train on have the same text. A part of the records is never trained on, to choose the best ` +
      `weights by. Give more data, such as one record per paragraph.`,
    { code: "data-too-small", details: { path, records: 0, validation } },
  );
}

function tooSmall(
  path: string,
  records: number,
  excluded: number,
  evaluated: ReadonlySet<number> | undefined,
): TuneInputError {
  const total = records + excluded;
  const why =
    evaluated === undefined
      ? `of its ${total} records, ${excluded} are held out for measuring (5 %, by hash) and ${records} remain for ` +
        `training, but neither may be 0. Give more data, or a separate file to measure on with --eval-data`
      : `all of its ${total} records are also in the evaluation data. Train and measure on different sequences`;
  return new TuneInputError(`${path}: ${why}.`, { code: "data-too-small", details: { path, records, excluded } });
}
