import { RandomStream, streamPurpose } from "@favor/core";

import type { SequenceTokenizer, TokenSequence } from "./tokenizer.ts";

/** Number of the stream that places windows; the draw of records has number 0. */
const windowStream = 1;

/** The special tokens at both ends of a sequence, which every part of it keeps. */
interface SequenceEnds {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/**
 * Windows of `maximum` tokens of a longer sequence, special tokens at its ends included: as many as fit without overlap,
 * with what is left over divided among the gaps at random, so that no part of documents is preferred.
 *
 * @param maximum - tokens of a window.
 * @param address - `seed` and the number of the sequence among all: the same address gives the same windows.
 */
export function windowsOf(
  sequence: TokenSequence,
  maximum: number,
  tokenizer: SequenceTokenizer,
  address: { readonly seed: number; readonly number: number },
): TokenSequence[] {
  const ends = endsOf(sequence.ids, tokenizer);
  const width = maximum - ends.before.length - ends.after.length;
  if (width < 1) return [partOf(sequence, 0, maximum, noEnds, tokenizer)];
  const content = sequence.ids.length - ends.before.length - ends.after.length;
  const count = Math.floor(content / width);
  const stream = new RandomStream({
    seed: address.seed,
    purpose: streamPurpose.sampling,
    layer: windowStream,
    epoch: address.number,
  });
  const left = content - count * width;
  const gaps = Array.from({ length: count }, () => stream.integer(left + 1)).toSorted((a, b) => a - b);
  return gaps.map((gap, i) => partOf(sequence, ends.before.length + gap + i * width, width, ends, tokenizer));
}

const noEnds: SequenceEnds = { before: [], after: [] };

/** The special tokens before the first and after the last token of the text. */
export function endsOf(ids: readonly number[], { specialIds, unknownId }: SequenceTokenizer): SequenceEnds {
  const isContent = (id: number): boolean => !specialIds.has(id) || id === unknownId;
  const first = ids.findIndex(isContent);
  return { before: ids.slice(0, first), after: ids.slice(ids.findLastIndex(isContent) + 1) };
}

function partOf(
  { ids, line }: TokenSequence,
  from: number,
  width: number,
  { before, after }: SequenceEnds,
  { unknownId }: SequenceTokenizer,
): TokenSequence {
  const part = [...before, ...ids.slice(from, from + width), ...after];
  return { ids: part, line, unknown: part.filter((id) => id === unknownId).length };
}
