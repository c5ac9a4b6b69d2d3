import { basename } from "node:path";

import { fitSequences, loadSequences } from "@favor/measure/tokens";
import type { DataUse, TokenSequence } from "@favor/measure/tokens";

import { TuneUsageError } from "../errors.ts";
import type { TuneRequest } from "../request.ts";
import type { Settings } from "../settings.ts";
import { sequenceOf } from "./arranged.ts";
import type { ConvertedModel } from "../source/converted-model.ts";
import { hashesOf, scanData } from "./scan.ts";
import type { ScannedData } from "./scan.ts";

/** The data to train on and to measure on; no sequence is in both. */
export interface TuningData {
  readonly training: ScannedData;
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
  if (evalData === undefined) {
    const { data: path } = request;
    const training = await scanData(path, { evaluated: undefined, count, column });
    const encoded = training.heldOut.map((record) => sequenceOf(record, path, tokenizer));
    const { sequences, ...fitted } = fitSequences(encoded, path, tokenizer, fitting);
    const heldOutUse: DataUse = {
      file: basename(path),
      sha256: training.sha256,
      sequences: sequences.length,
      tokens: sequences.reduce((sum, { ids }) => sum + ids.length, 0),
      unknown: sequences.reduce((sum, { unknown }) => sum + unknown, 0),
      ...fitted,
      seed,
    };
    return { training, heldOut: sequences, heldOutUse, isSeparate: false, maximumTokens };
  }
  const evaluated = await hashesOf(evalData, column);
  const training = await scanData(request.data, { evaluated, count, column });
  const drawn = { ...fitting, withLongest: true, column };
  const { sequences, use } = await loadSequences(evalData, tokenizer, drawn);
  return { training, heldOut: sequences, heldOutUse: use, isSeparate: true, maximumTokens };
}
