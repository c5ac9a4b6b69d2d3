import { loadSequences } from "@favor/measure/tokens";
import type { TokenSequence } from "@favor/measure/tokens";
import type { DataUse } from "@favor/measure/tokens";

import type { TuneRequest } from "../request.ts";
import type { Settings } from "../settings.ts";
import type { ConvertedModel } from "../source/converted-model.ts";
import { hashesOf, scanData } from "./scan.ts";
import type { ScannedData } from "./scan.ts";
import { sequenceOf } from "./training-data.ts";

/** The data to train on and to measure on; no sequence is in both. */
export interface TuningData {
  readonly training: ScannedData;
  readonly heldOut: readonly TokenSequence[];
  /** Name of the file with the held-out sequences. */
  readonly heldOutFile: string;
  /** The record of an evaluation file for `favor.json`; undefined if a part of the training data is held out. */
  readonly evaluation: DataUse | undefined;
  /** Longer sequences are cut; undefined: no limit. */
  readonly maximumTokens: number | undefined;
}

/**
 * Reads the data once and draws the sequences to measure on: from `--eval-data`, as favor-convert's evaluation does, or
 * the part of the data that is held out by hash.
 *
 * @throws {TuneInputError} `data-too-small`; {InputError} `data-malformed`, `data-empty`, `file-unreadable`.
 */
export async function openTuningData(
  request: TuneRequest,
  settings: Settings,
  { tokenizer, maximumTokens: held }: ConvertedModel,
): Promise<TuningData> {
  const { evalData, column } = request;
  const { evalCount: count, seed, maxLength } = settings;
  const shortest = Math.min(held ?? Infinity, maxLength ?? Infinity);
  const maximumTokens = Number.isFinite(shortest) ? shortest : undefined;
  if (evalData === undefined) {
    const training = await scanData(request.data, { evaluated: undefined, count, column });
    const heldOut = training.heldOut.map((record) => sequenceOf(record, request.data, { tokenizer, maximumTokens }));
    return { training, heldOut, heldOutFile: training.file, evaluation: undefined, maximumTokens };
  }
  const evaluated = await hashesOf(evalData, column);
  const training = await scanData(request.data, { evaluated, count, column });
  const drawn = { count, seed, maximumTokens, longer: "cut" as const, withLongest: true, column };
  const { sequences, use } = await loadSequences(evalData, tokenizer, drawn);
  return { training, heldOut: sequences, heldOutFile: use.file, evaluation: use, maximumTokens };
}
