import { counted, grouped, percent } from "../numbers.ts";

import type { LoadedSequences } from "./load-sequences.ts";
import type { SequenceTokenizer } from "./tokenizer.ts";

/** What makes data files doubtful. */
export const dataWarningCodes = [
  "calibration-small",
  "tokens-unknown",
  "vocabulary-unseen",
  "evaluation-not-independent",
] as const;

/** Something about the data files that the user should know before relying on the result. */
export interface DataWarning {
  readonly code: (typeof dataWarningCodes)[number];
  /** What was found, why it matters, what to do. */
  readonly message: string;
}

/** Fewer than these, and the fit depends on which ones were drawn. */
const enough = { sequences: 50, tokens: 5000 };

const unknownShare = 0.05;

/** A vocabulary of at most so many tokens is an alphabet: data should show nearly all of it. */
const alphabetSize = 100;
const seenShare = 0.8;

/** Codes for ambiguous and rare residues, gaps and stops: an alphabet has them, ordinary sequences do not. */
const rareTokens: ReadonlySet<string> = new Set("BJOUXZ*-.");

/** So many evaluation sequences may be calibration sequences too: natural data repeat themselves. */
const sharedShare = 0.1;

/** What was read for a conversion. */
export interface ConversionData {
  readonly tokenizer: SequenceTokenizer;
  readonly calibration: LoadedSequences | undefined;
  readonly evaluation: LoadedSequences | undefined;
  /** At most how many calibration sequences were to be drawn. */
  readonly calibrateCount: number;
}

/** What makes the fit, or the quality that will be measured, doubtful: each once, in the order of the work. */
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
      `Calibration sees only ${counted(sequences, "sequence")} with ${counted(tokens, "token")} (${file}). Features that ` +
      `are fitted to fewer than ${enough.sequences} sequences or ${grouped(enough.tokens)} tokens follow those few and may ` +
      `do worse on others. ${advice}`,
  };
}

function manyUnknown({ use }: LoadedSequences, consequence: string): DataWarning | undefined {
  const { file, tokens, unknown } = use;
  if (unknown <= unknownShare * tokens) return undefined;
  return {
    code: "tokens-unknown",
    message:
      `${grouped(unknown)} of ${grouped(tokens)} tokens (${percent(unknown / tokens)}) of ${file} are unknown to the ` +
      `tokenizer. The model sees its unknown token in their place, and ${consequence}. Check that the file is of the kind ` +
      `the checkpoint was trained on (alphabet, capitals, language).`,
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
      `The calibration sequences hold ${found} of the vocabulary's ${ordinary.length} ordinary tokens (${use.file}; not: ` +
      `${list}). Features are fitted to what they see and may do worse on sequences with the others. Calibrate on data ` +
      `like those that you will use.`,
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
    : `${shared} of the ${all} evaluation sequences (${evaluation.use.file}) are calibration sequences too`;
  return {
    code: "evaluation-not-independent",
    message:
      `${found}. The features are fitted to them, so other data will lose more than is measured here. Name sequences ` +
      `with --evaluate that calibration does not see.`,
  };
}
