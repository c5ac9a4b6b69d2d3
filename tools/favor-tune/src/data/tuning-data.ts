import { basename } from "node:path";

import type { DataRecord } from "@favor/measure/data";
import { fitSequences, loadSequences } from "@favor/measure/tokens";
import type { DataUse, TokenSequence } from "@favor/measure/tokens";

import { TuneUsageError } from "../errors.ts";
import type { TuneRequest } from "../request.ts";
import type { Settings } from "../settings.ts";
import { sequenceOf } from "./arranged.ts";
import type { ConvertedModel } from "../source/converted-model.ts";
import { hashesOf, scanData } from "./scan.ts";
import type { ScannedData } from "./scan.ts";

/** The data to train on, to choose weights by and to measure on; no sequence is in two of them. */
export interface TuningData {
  readonly training: ScannedData;
  /** Sequences of the training file by which the best weights are chosen. */
  readonly validation: readonly TokenSequence[];
  readonly heldOut: readonly TokenSequence[];
  /** The file of the held-out sequences, and what was drawn from it. */
  readonly heldOutUse: DataUse;
  /** Whether that is a file of its own, from which the same can be drawn again. */
  readonly isSeparate: boolean;
  /** The longest sequence; undefined: no limit. */
  readonly maximumTokens: number | undefined;
}

/**
 * Reads the data once and draws the sequences to measure on: from `--eval-data`, as favor-convert's evaluation does, or
 * the part of the data that is held out by hash.
 *
 * @throws {TuneUsageError} `bad-arguments` for packing without a length; {TuneInputError} `data-too-small`; {InputError} `data-malformed`, `data-empty`, `file-unreadable`.
 */
export async function openTuningData(
  request: TuneRequest,
  settings: Settings,
  { tokenizer, maximumTokens: held }: ConvertedModel,
): Promise<TuningData> {
  const { evalData, column } = request;
  const { evalCount: count, seed, maxLength, longer, pack } = settings;
  const shortest = Math.min(held ?? Infinity, maxLength ?? Infinity);
  const maximumTokens = Number.isFinite(shortest) ? shortest : undefined;
  if (pack && maximumTokens === undefined) {
    throw new TuneUsageError(
      "--pack fills windows, and this model reads any length: say how long they are, with --max-length.",
      {
        code: "bad-arguments",
      },
    );
  }
  const fitting = { maximumTokens, longer, count, seed };
  const fitted = (records: readonly DataRecord[]): ReturnType<typeof fitSequences> => {
    const encoded = records.map((record) => sequenceOf(record, request.data, tokenizer));
    return fitSequences(encoded, request.data, tokenizer, fitting);
  };
  if (evalData === undefined) {
    const { data: path } = request;
    const training = await scanData(path, { evaluated: undefined, count, column });
    const { sequences, ...use } = fitted(training.heldOut);
    const heldOutUse: DataUse = {
      file: basename(path),
      sha256: training.sha256,
      sequences: sequences.length,
      tokens: sequences.reduce((sum, { ids }) => sum + ids.length, 0),
      unknown: sequences.reduce((sum, { unknown }) => sum + unknown, 0),
      ...use,
      seed,
    };
    const validation = fitted(training.validation).sequences;
    return { training, validation, heldOut: sequences, heldOutUse, isSeparate: false, maximumTokens };
  }
  const evaluated = await hashesOf(evalData, column);
  const training = await scanData(request.data, { evaluated, count, column });
  const drawn = { ...fitting, withLongest: true, column };
  const { sequences, use } = await loadSequences(evalData, tokenizer, drawn);
  const validation = fitted(training.validation).sequences;
  return { training, validation, heldOut: sequences, heldOutUse: use, isSeparate: true, maximumTokens };
}
