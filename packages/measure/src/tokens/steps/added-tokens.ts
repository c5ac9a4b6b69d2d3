import { z } from "zod";

import { whitespace, wordCharacters } from "./characters.ts";

/** A token that is found in the text itself, before any model sees it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Found only if no letters, digits or underscores are next to it. */
  readonly single_word: boolean;
  /** It takes the white space before, or after, with it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Found in the normalised text; otherwise in the text as it came. */
  readonly normalized: boolean;
  readonly special: boolean;
}

export const addedTokenSchema: z.ZodType<AddedToken> = z.looseObject({
  id: z.int().nonnegative(),
  content: z.string(),
  single_word: z.boolean(),
  lstrip: z.boolean(),
  rstrip: z.boolean(),
  normalized: z.boolean(),
  special: z.boolean(),
});

/** A stretch of a text: an added token's, or one that is still text. */
export interface Section {
  readonly start: number;
  readonly end: number;
  readonly id: number | undefined;
}

const isWord = new RegExp(`[${wordCharacters}]`, "v");

/** Finds added tokens, the leftmost first and the longest among those that begin at the same place. */
export class AddedTokenFinder {
  readonly #byFirst = new Map<string, { readonly text: string; readonly token: AddedToken }[]>();

  /** @param tokens - each with the text that stands for it. */
  constructor(tokens: readonly { readonly text: string; readonly token: AddedToken }[]) {
    for (const each of tokens) {
      if (each.text === "") continue;
      const first = each.text[0]!;
      this.#byFirst.set(first, [...(this.#byFirst.get(first) ?? []), each]);
    }
    for (const list of this.#byFirst.values()) list.sort((a, b) => b.text.length - a.text.length);
  }

  split(text: string): Section[] {
    if (this.#byFirst.size === 0) return text === "" ? [] : [{ start: 0, end: text.length, id: undefined }];
    const sections: Section[] = [];
    let done = 0;
    for (let at = 0; at < text.length;) {
      const found = this.#byFirst.get(text[at]!)?.find((each) => text.startsWith(each.text, at));
      if (found === undefined) {
        at++;
        continue;
      }
      let start = at;
      let end = at + found.text.length;
      at = end;
      const { token } = found;
      if (token.single_word && !isAlone(text, start, end)) continue;
      while (token.lstrip && start > done && whitespace.test(text[start - 1]!)) start--;
      while (token.rstrip && end < text.length && whitespace.test(text[end]!)) end++;
      if (start > done) sections.push({ start: done, end: start, id: undefined });
      sections.push({ start, end, id: token.id });
      done = end;
    }
    if (done < text.length) sections.push({ start: done, end: text.length, id: undefined });
    return sections;
  }
}

function isAlone(text: string, start: number, end: number): boolean {
  const before =
    start === 0
      ? ""
      : String.fromCodePoint(text.slice(Math.max(0, start - 2), start).codePointAt(lastAt(text, start))!);
  const after = end === text.length ? "" : String.fromCodePoint(text.codePointAt(end)!);
  return !isWord.test(before) && !isWord.test(after);
}

/** Where, in the two code units before `end`, the last character begins. */
function lastAt(text: string, end: number): number {
  const isPair = end >= 2 && /[\ud800-\udbff]/.test(text[end - 2]!) && /[\udc00-\udfff]/.test(text[end - 1]!);
  return isPair || end === 1 ? 0 : 1;
}
