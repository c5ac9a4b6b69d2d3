import type { Source } from "@favor/checkpoints/node";
import { checkVocabulary, doubtsAbout, loadSequences, loadTokenizer } from "@favor/measure/tokens";
import type { DataWarning, LoadedSequences, SequenceTokenizer } from "@favor/measure/tokens";
import type { ModelAttention } from "@favor/rewriter";

import { longestSequence, windowsNote } from "./longest-sequence.ts";
import type { ConvertRequest } from "./request.ts";

/** The sequences of a request's data files. */
export interface Data {
  readonly tokenizer: SequenceTokenizer | undefined;
  readonly calibration: LoadedSequences | undefined;
  readonly evaluation: LoadedSequences | undefined;
  readonly warnings: readonly DataWarning[];
  /** What was not read as it stands in the files. */
  readonly notes: readonly string[];
}

/** Reads and tokenises the data files first, so that their errors show before minutes of work. */
export async function openData(
  request: ConvertRequest,
  source: Source,
  attention: ModelAttention,
  seed: number,
): Promise<Data> {
  if (request.calibrate === undefined && request.evaluate === undefined) {
    return { tokenizer: undefined, calibration: undefined, evaluation: undefined, warnings: [], notes: [] };
  }
  const tokenizer = await loadTokenizer(source.folder);
  checkVocabulary(tokenizer, source.config.vocab_size ?? undefined, source.folder);
  const load = async (
    path: string | undefined,
    count: number,
    withLongest: boolean,
  ): Promise<LoadedSequences | undefined> =>
    path === undefined
      ? undefined
      : loadSequences(path, tokenizer, {
          count,
          seed,
          ...longestSequence(source, attention.longestInput, request),
          column: request.column,
          withLongest,
        });
  const calibrateCount = request.calibrateCount ?? 200;
  const calibration = await load(request.calibrate, calibrateCount, false);
  const evaluation = await load(request.evaluate, request.evaluateCount ?? 500, true);
  const warnings = doubtsAbout({ tokenizer, calibration, evaluation, calibrateCount });
  const notes = [
    ...(calibration ? windowsNote("Calibration data", calibration.use) : []),
    ...(evaluation ? windowsNote("Evaluation data", evaluation.use) : []),
  ];
  return { tokenizer, calibration, evaluation, warnings, notes };
}
