import type { LoadedSequences, TokenSequence } from "@favor/measure/tokens";
import type { SiteReport } from "@favor/rewriter";

/** Multiply-adds of the original to spend on calibration, and on each evaluation. */
const spent = { calibration: 5e11, evaluation: 4e11 };

/** Fits take long for long inputs and many keys: sequences to calibrate on are cut here, and have so many tokens in all. */
const calibrated = { longest: 2048, tokens: 16_384 };

/** However dear a sequence is, so many are taken. */
const least = { calibration: 8, evaluation: 4 };

/** Multiply-adds of one forward pass of a sequence, about: each weight once for each token, and the attention's products. */
export function passCost(
  sites: readonly Pick<SiteReport, "heads" | "headDim">[],
  weights: number,
): (tokens: number) => number {
  const width = sites.reduce((sum, { heads, headDim }) => sum + heads * headDim, 0);
  return (tokens) => tokens * weights + 2 * tokens * tokens * width;
}

/** Sequences to calibrate on, and others to measure on. */
export interface Divided {
  readonly calibration: LoadedSequences;
  readonly evaluation: LoadedSequences;
}

/**
 * Divides the sequences of a data file: every other record to each part, and the windows of a document to the same part. Each
 * part takes its longest sequence, and others for as long as their passes are cheap enough. The machine does not matter, so
 * that the same file gives the same sequences everywhere.
 *
 * @param cost - multiply-adds of a pass, by its tokens.
 */
export function divideSequences(loaded: LoadedSequences, cost: (tokens: number) => number): Divided {
  const records = [...new Set(loaded.sequences.map(({ line }) => line))];
  const numbers = new Map(records.map((line, number) => [line, number]));
  // The windows of a single document are all there is.
  const numberOf = (sequence: TokenSequence, index: number): number =>
    records.length === 1 ? index : numbers.get(sequence.line)!;
  const part = (name: keyof Divided): LoadedSequences => {
    const remainder = name === "evaluation" ? 0 : 1;
    const own = loaded.sequences.filter((sequence, index) => numberOf(sequence, index) % 2 === remainder);
    const some = own.length === 0 ? loaded.sequences : own;
    const limits = { most: spent[name], few: least[name], tokens: Infinity };
    if (name === "evaluation") return withinCost(some, loaded, cost, limits);
    return withinCost(some.map(cut), loaded, cost, { ...limits, tokens: calibrated.tokens });
  };
  return { calibration: part("calibration"), evaluation: part("evaluation") };
}

/** The beginning of a long sequence, with its last token. */
function cut(sequence: TokenSequence): TokenSequence {
  const { ids } = sequence;
  if (ids.length <= calibrated.longest) return sequence;
  return { ...sequence, ids: [...ids.slice(0, calibrated.longest - 1), ids.at(-1)!] };
}

function withinCost(
  sequences: readonly TokenSequence[],
  { use }: LoadedSequences,
  cost: (tokens: number) => number,
  { most, few, tokens: room }: { readonly most: number; readonly few: number; readonly tokens: number },
): LoadedSequences {
  const longest = sequences.reduce((best, each) => (each.ids.length > best.ids.length ? each : best));
  const taken: TokenSequence[] = [];
  let [total, tokens] = [0, 0];
  for (const sequence of [longest, ...sequences.filter((each) => each !== longest)]) {
    total += cost(sequence.ids.length);
    tokens += sequence.ids.length;
    if (taken.length >= few && (total > most || tokens > room)) break;
    taken.push(sequence);
  }
  const sum = (value: (sequence: TokenSequence) => number): number =>
    taken.reduce((all, sequence) => all + value(sequence), 0);
  const { windowTokens, windows: _, longest: __, ...rest } = use;
  const isWindow = ({ ids }: TokenSequence): number => Number(ids.length === windowTokens);
  return {
    sequences: taken,
    use: {
      ...rest,
      sequences: taken.length,
      tokens: sum(({ ids }) => ids.length),
      unknown: sum(({ unknown }) => unknown),
      ...(sum(isWindow) > 0 && { windowTokens: windowTokens!, windows: sum(isWindow) }),
    },
  };
}
