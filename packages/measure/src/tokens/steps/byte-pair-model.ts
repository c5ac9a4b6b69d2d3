/** What byte pair encoding needs of a `tokenizer.json`. */
export interface BytePairSettings {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Pairs of tokens, the first to be merged first. */
  readonly merges: readonly (readonly [string, string])[];
  readonly unknown: string | undefined;
  /** Before every character but a word's first. */
  readonly continuingPrefix: string;
  /** After a word's last character. */
  readonly endSuffix: string;
  /** Unknown characters next to each other become one unknown token. */
  readonly fuseUnknown: boolean;
  /** Unknown characters become their bytes, `<0x0A>`. */
  readonly byteFallback: boolean;
  /** A word that is in the vocabulary is that token, merges or not. */
  readonly ignoreMerges: boolean;
}

/** A token of a word that is being merged, linked to its neighbours. */
interface Symbol {
  id: number;
  previous: number;
  next: number;
}

interface Candidate {
  readonly rank: number;
  readonly at: number;
  readonly left: number;
  readonly right: number;
  readonly merged: number;
}

/**
 * Byte pair encoding (Sennrich et al., 2016): merges the pair of the lowest rank, the leftmost first, until none is left.
 *
 * @returns the ids of a word. A character that is not in the vocabulary is left out if there is no unknown token.
 * @throws {Error} if merges name tokens outside the vocabulary.
 */
export function bytePairModel(settings: BytePairSettings): (word: string) => number[] {
  const { vocabulary, continuingPrefix, ignoreMerges } = settings;
  const merges = new Map<string, { readonly rank: number; readonly merged: number }>();
  for (const [rank, [left, right]] of settings.merges.entries()) {
    const merged = vocabulary.get(left + right.slice(continuingPrefix.length));
    const [a, b] = [vocabulary.get(left), vocabulary.get(right)];
    if (merged === undefined || a === undefined || b === undefined) {
      throw new Error(`the merge "${left} ${right}" has or gives a token that is not in the vocabulary`);
    }
    merges.set(`${a} ${b}`, { rank, merged });
  }
  const known = new Map<string, number[]>();
  return (word) => {
    const whole = ignoreMerges ? vocabulary.get(word) : undefined;
    if (whole !== undefined) return [whole];
    let ids = known.get(word);
    if (ids === undefined) {
      ids = mergeAll(charactersOf(word, settings), merges);
      if (known.size < 50_000 && word.length < 256) known.set(word, ids);
    }
    return ids;
  };
}

function charactersOf(word: string, settings: BytePairSettings): number[] {
  const { vocabulary, unknown, continuingPrefix, endSuffix, fuseUnknown, byteFallback } = settings;
  const ids: number[] = [];
  const characters = [...word];
  let isAfterUnknown = false;
  for (const [at, character] of characters.entries()) {
    const text = (at > 0 ? continuingPrefix : "") + character + (at === characters.length - 1 ? endSuffix : "");
    const id = vocabulary.get(text);
    const bytes = id === undefined && byteFallback ? bytesOf(text, vocabulary) : undefined;
    if (id !== undefined) ids.push(id);
    else if (bytes !== undefined) ids.push(...bytes);
    else if (unknown !== undefined && !(isAfterUnknown && fuseUnknown)) ids.push(vocabulary.get(unknown)!);
    isAfterUnknown = id === undefined && bytes === undefined;
  }
  return ids;
}

/** The tokens of a text's bytes in UTF-8, if the vocabulary has them all. */
export function bytesOf(text: string, vocabulary: ReadonlyMap<string, number>): number[] | undefined {
  const ids = [...new TextEncoder().encode(text)].map((byte) =>
    vocabulary.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  );
  return ids.every((id) => id !== undefined) ? ids : undefined;
}

function mergeAll(
  ids: readonly number[],
  merges: ReadonlyMap<string, { readonly rank: number; readonly merged: number }>,
): number[] {
  const symbols: Symbol[] = ids.map((id, at) => ({ id, previous: at - 1, next: at + 1 < ids.length ? at + 1 : -1 }));
  const queue = new CandidateQueue();
  const consider = (at: number): void => {
    const next = at < 0 ? -1 : symbols[at]!.next;
    if (next < 0) return;
    const [left, right] = [symbols[at]!.id, symbols[next]!.id];
    const merge = merges.get(`${left} ${right}`);
    if (merge !== undefined) queue.push({ rank: merge.rank, at, left, right, merged: merge.merged });
  };
  for (let at = 0; at < symbols.length; at++) consider(at);
  for (let candidate = queue.pop(); candidate !== undefined; candidate = queue.pop()) {
    const symbol = symbols[candidate.at]!;
    const next = symbol.next < 0 ? undefined : symbols[symbol.next]!;
    // Another merge may have used one of the two.
    if (symbol.id !== candidate.left || next?.id !== candidate.right) continue;
    symbol.id = candidate.merged;
    next.id = -1;
    symbol.next = next.next;
    if (symbol.next >= 0) symbols[symbol.next]!.previous = candidate.at;
    consider(symbol.previous);
    consider(candidate.at);
  }
  return symbols.filter(({ id }) => id >= 0).map(({ id }) => id);
}

/** A binary heap: the lowest rank first, then the leftmost. */
class CandidateQueue {
  readonly #heap: Candidate[] = [];

  push(candidate: Candidate): void {
    const heap = this.#heap;
    let at = heap.push(candidate) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(candidate, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = candidate;
  }

  pop(): Candidate | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Candidate, b: Candidate): boolean {
  return a.rank === b.rank ? a.at < b.at : a.rank < b.rank;
}
