import { counted, grouped, percent } from "../numbers/counts.ts";

import type { LoadedSequences } from "./load-sequences.ts";
import type { SequenceTokenizer } from "./tokenizer.ts";

/** Reasons to doubt data files, a measurement, or the quality that it finds. */
export const dataWarningCodes = [
  "calibration-small",
  "tokens-unknown",
  "vocabulary-unseen",
  "evaluation-not-independent",
  "original-at-chance",
  "quality-low",
  "quality-low-at-length",
  "decisions-one-sided",
  "pooling-disagrees",
  "pooling-incomplete",
  "break-even-beyond-positions",
  "break-even-beyond-data",
] as const;

/** A problem with the data files that the user should know before relying on the result. */
export interface DataWarning {
  readonly code: (typeof dataWarningCodes)[number];
  /** What was found, why it matters and what to do. */
  readonly message: string;
}

/** With fewer than these, the fit depends on which ones were drawn. */
const enough = { sequences: 50, tokens: 5000 };

const unknownShare = 0.05;

/** A vocabulary of at most this many tokens is an alphabet: data should use nearly all of it. */
const alphabetSize = 100;
const seenShare = 0.8;

/** Codes for ambiguous and rare residues, gaps and stops, which ordinary sequences rarely contain. */
const rareTokens: ReadonlySet<string> = new Set("BJOUXZ*-.");

/** The share of evaluation sequences that may also be calibration sequences: natural data contain repeats. */
const sharedShare = 0.1;

/** The data read for a conversion. */
export interface ConversionData {
  readonly tokenizer: SequenceTokenizer;
  readonly calibration: LoadedSequences | undefined;
  readonly evaluation: LoadedSequences | undefined;
  /** How many calibration sequences were requested. */
  readonly calibrateCount: number;
}

/** Lists the reasons to doubt the fit or the measured quality, each once. */
export function doubtsAbout({ tokenizer, calibration, evaluation, calibrateCount }: ConversionData): DataWarning[] {
  const isSameFile = calibration !== undefined && calibration.use.sha256 === evaluation?.use.sha256;
  return [
    calibration && tooSmall(calibration, calibrateCount),
    calibration && manyUnknown(calibration, "the features are fitted to that"),
    calibration && littleOfTheAlphabet(calibration, tokenizer),
    evaluation && !isSameFile ? manyUnknown(evaluation, "the quality is measured on that") : undefined,
    calibration && evaluation && notIndependent(calibration, evaluation, isSameFile),
  ].filter((doubt) => doubt !== undefined);
}

function tooSmall({ use }: LoadedSequences, calibrateCount: number): DataWarning | undefined {
  const { file, sequences, tokens } = use;
  if (sequences >= enough.sequences && tokens >= enough.tokens) return undefined;
  const advice =
    sequences < calibrateCount
      ? "Name a larger file with --calibrate."
      : `Raise --calibrate-count (now ${calibrateCount}), or name a larger file with --calibrate.`;
  return {
    code: "calibration-small",
    message:
      `Calibration sees only ${counted(sequences, "sequence")} with ${counted(tokens, "token")} (${file}). Features fitted to ` +
      `fewer than ${enough.sequences} sequences or ${grouped(enough.tokens)} tokens may do worse on other data. ${advice}`,
  };
}

function manyUnknown({ use }: LoadedSequences, consequence: string): DataWarning | undefined {
  const { file, tokens, unknown } = use;
  if (unknown <= unknownShare * tokens) return undefined;
  return {
    code: "tokens-unknown",
    message:
      `${grouped(unknown)} of ${grouped(tokens)} tokens (${percent(unknown / tokens)}) of ${file} are unknown to the ` +
      `tokenizer. The model sees its unknown token instead, and ${consequence}. Check that the file matches what the ` +
      `checkpoint was trained on (alphabet, capitals, language).`,
  };
}

function littleOfTheAlphabet(
  { sequences, use }: LoadedSequences,
  { vocabulary, specialIds }: SequenceTokenizer,
): DataWarning | undefined {
  const ordinary = [...vocabulary].filter(([token, id]) => !specialIds.has(id) && !rareTokens.has(token));
  if (ordinary.length === 0 || ordinary.length > alphabetSize) return undefined;
  const seen = new Set(sequences.flatMap(({ ids }) => ids));
  const unseen = ordinary.filter(([, id]) => !seen.has(id)).map(([token]) => token);
  const found = ordinary.length - unseen.length;
  if (found >= seenShare * ordinary.length) return undefined;
  const list = unseen.slice(0, 12).join(" ") + (unseen.length > 12 ? " ..." : "");
  return {
    code: "vocabulary-unseen",
    message:
      `The calibration sequences contain only ${found} of the vocabulary's ${ordinary.length} ordinary tokens (${use.file}; ` +
      `missing: ${list}). The features may do worse on sequences with the other tokens. Calibrate on data like those ` +
      `that you will use.`,
  };
}

function notIndependent(
  calibration: LoadedSequences,
  evaluation: LoadedSequences,
  isSameFile: boolean,
): DataWarning | undefined {
  const fitted = new Set(calibration.sequences.map(({ ids }) => ids.join(" ")));
  const shared = evaluation.sequences.filter(({ ids }) => fitted.has(ids.join(" "))).length;
  const all = evaluation.sequences.length;
  if (!isSameFile && shared <= sharedShare * all) return undefined;
  const found = isSameFile
    ? `--evaluate and --calibrate name the same data (${evaluation.use.file})`
    : `${shared} of the ${all} evaluation sequences (${evaluation.use.file}) are also calibration sequences`;
  return {
    code: "evaluation-not-independent",
    message:
      `${found}. The features are fitted to these sequences, so the loss on other data will be larger than measured here. ` +
      `Evaluate on sequences that calibration does not see.`,
  };
}
