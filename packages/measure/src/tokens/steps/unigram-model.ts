import { bytesOf } from "./byte-pair-model.ts";
import { NoTokenError } from "./step-error.ts";

/** What a unigram language model needs of a `tokenizer.json`. */
export interface UnigramSettings {
  /** Each token with the logarithm of its probability; the place is the id. */
  readonly pieces: readonly (readonly [string, number])[];
  readonly unknownId: number | undefined;
  /** Unknown characters become their bytes, `<0x0A>`. */
  readonly byteFallback: boolean;
}

/** Added to the lowest score for a character that is no token. */
const unknownPenalty = -10;

interface Node {
  readonly score: number;
  readonly start: number;
  readonly id: number;
}

/**
 * The segmentation of the highest probability under a unigram language model (Kudo, 2018), found by dynamic programming.
 *
 * @returns the ids of a word. Unknown characters next to each other become one unknown token.
 * @throws {NoTokenError} for an unknown character if there is no unknown token.
 */
export function unigramModel({ pieces, unknownId, byteFallback }: UnigramSettings): (word: string) => number[] {
  const vocabulary = new Map(pieces.map(([piece], id) => [piece, id]));
  const scores = pieces.map(([, score]) => asRead(score));
  const unknownScore = scores.reduce((lowest, score) => Math.min(lowest, score), Infinity) + unknownPenalty;
  /** The length of the longest token that begins with a character. */
  const longest = new Map<string, number>();
  for (const [piece] of pieces) {
    const first = firstOf(piece);
    longest.set(first, Math.max(longest.get(first) ?? 0, piece.length));
  }
  const best = (word: string): Node[] => {
    const nodes: Node[] = [];
    const offer = (end: number, node: Node): void => {
      const found = nodes[end];
      if (found === undefined || node.score > found.score) nodes[end] = node;
    };
    for (let start = 0; start < word.length;) {
      const till = nodes[start]?.score ?? 0;
      const first = firstOf(word.slice(start, start + 2));
      const last = Math.min(word.length, start + (longest.get(first) ?? 0));
      let isKnown = false;
      for (let end = start + first.length; end <= last; end++) {
        const id = vocabulary.get(word.slice(start, end));
        if (id === undefined) continue;
        offer(end, { score: scores[id]! + till, start, id });
        if (end === start + first.length) isKnown = true;
      }
      if (!isKnown) {
        if (unknownId === undefined) throw new NoTokenError(first);
        offer(start + first.length, { score: unknownScore + till, start, id: unknownId });
      }
      start += first.length;
    }
    return nodes;
  };
  return (word) => {
    const nodes = best(word);
    const texts: string[] = [];
    let isAfterUnknown = false;
    for (let end = word.length; end > 0;) {
      const { start, id } = nodes[end]!;
      const text = word.slice(start, end);
      const isUnknown = id === unknownId;
      if (isUnknown && isAfterUnknown) texts[texts.length - 1] = text + texts.at(-1)!;
      else texts.push(text);
      isAfterUnknown = isUnknown;
      end = start;
    }
    return texts.toReversed().flatMap((text) => {
      const id = vocabulary.get(text);
      if (id !== undefined) return [id];
      return (byteFallback ? bytesOf(text, vocabulary) : undefined) ?? [unknownId!];
    });
  };
}

/**
 * A number as the library reads it: the digits as an integer, rounded to 53 bits, divided by a power of ten. That may be one
 * unit in the last place off, which decides between segmentations of the same probability.
 */
function asRead(score: number): number {
  const [, sign, whole, fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(score)) ?? [];
  if (whole === undefined) return score;
  const places = Number(exponent) - fraction.length;
  const digits = Number(BigInt(whole + fraction));
  if (Math.abs(places) > 22) return score;
  const value = places < 0 ? digits / 10 ** -places : digits * 10 ** places;
  return sign === "-" ? -value : value;
}

function firstOf(text: string): string {
  const point = text.codePointAt(0);
  return point === undefined ? "" : String.fromCodePoint(point);
}
