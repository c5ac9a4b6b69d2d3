import { toRegExp } from "oniguruma-to-es";

import { messageOf } from "@favor/checkpoints";

import { UnsupportedStep } from "./step-error.ts";

/** A pattern of a `tokenizer.json`: a text, or a regular expression of Oniguruma. */
export type Pattern = { readonly String: string } | { readonly Regex: string };

/** Cuts a text into matches and what lies between them, in order and without gaps. */
export type Find = (text: string) => Span[];

export interface Span {
  readonly start: number;
  readonly end: number;
  readonly isMatch: boolean;
}

/** What finds a pattern. An empty text is never found. */
export function findPattern(pattern: Pattern): Find {
  if ("Regex" in pattern) return findExpression(expressionOf(pattern.Regex));
  const { String: wanted } = pattern;
  return (text) => {
    const spans: Span[] = [];
    let last = 0;
    for (let at = wanted === "" ? -1 : text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      if (at > last) spans.push({ start: last, end: at, isMatch: false });
      last = at + wanted.length;
      spans.push({ start: at, end: last, isMatch: true });
    }
    if (last < text.length) spans.push({ start: last, end: text.length, isMatch: false });
    return spans;
  };
}

/** What finds a JavaScript expression with the flag `g`. */
export function findExpression(expression: RegExp): Find {
  return (text) => {
    const spans: Span[] = [];
    let last = 0;
    let isAfterMatch = false;
    for (const match of text.matchAll(expression)) {
      const end = match.index + match[0].length;
      // An empty match right after another one does not count.
      if (end === match.index && end === last && isAfterMatch) continue;
      isAfterMatch = true;
      if (match.index > last) spans.push({ start: last, end: match.index, isMatch: false });
      spans.push({ start: match.index, end, isMatch: true });
      last = end;
    }
    if (last < text.length) spans.push({ start: last, end: text.length, isMatch: false });
    return spans;
  };
}

/** What finds each character of a class by itself. */
export function findCharacters(characters: RegExp): Find {
  return findExpression(new RegExp(characters.source, "gv"));
}

function expressionOf(source: string): RegExp {
  try {
    return toRegExp(withWordCharacters(source), { global: true });
  } catch (error) {
    throw new UnsupportedStep(`the regular expression ${source}, which cannot be translated (${messageOf(error)})`);
  }
}

const inClass = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}`;
/** Outside of brackets, Oniguruma counts these fractions and superscripts too. */
const alone = String.raw`[${inClass}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}]`;
const words: Readonly<Record<string, readonly [outside: string, inside: string]>> = {
  w: [alone, inClass],
  W: [alone.replace("[", "[^"), `[^${inClass}]`],
  b: [`(?:(?<=${alone})(?!${alone})|(?<!${alone})(?=${alone}))`, String.raw`\b`],
  B: [`(?:(?<=${alone})(?=${alone})|(?<!${alone})(?!${alone}))`, String.raw`\B`],
};

/**
 * Writes out what Oniguruma, as `tokenizers` builds it, calls a word character. The translation has it otherwise.
 *
 * @throws {UnsupportedStep} for `\X`, whose graphemes are those of another version of Unicode.
 */
function withWordCharacters(source: string): string {
  let written = "";
  let depth = 0;
  for (let at = 0; at < source.length; at++) {
    const character = source[at]!;
    const escaped = character === "\\" ? source[++at] : undefined;
    if (escaped === "X" && depth === 0) throw new UnsupportedStep(String.raw`the regular expression ${source} with \X`);
    if (escaped !== undefined) {
      written += words[escaped]?.[depth > 0 ? 1 : 0] ?? `\\${escaped}`;
      continue;
    }
    if (character === "[") depth++;
    else if (character === "]" && depth > 0) depth--;
    written += character;
    const opening = character === "[" ? /^\^?\]|^:\^?[a-z]+:\]/i.exec(source.slice(at + 1)) : null;
    if (opening === null) continue;
    // A bracket right after the opening one is an ordinary character; [:alpha:] is closed here.
    written += opening[0];
    at += opening[0].length;
    if (opening[0].startsWith(":")) depth--;
  }
  return written;
}

/** What becomes of matches when a text is split. */
export type SplitBehavior = "Removed" | "Isolated" | "Contiguous" | "MergedWithPrevious" | "MergedWithNext";

/** Splits a text at what is found; `invert` exchanges matches and the rest. Empty pieces are left out. */
export function splitText(text: string, find: Find, behavior: SplitBehavior, invert = false): Span[] {
  const found = find(text).map(({ start, end, isMatch }) => ({ start, end, isMatch: isMatch !== invert }));
  return merged(found, behavior).filter(({ start, end }) => end > start);
}

function merged(spans: readonly Span[], behavior: SplitBehavior): Span[] {
  switch (behavior) {
    case "Removed":
      return spans.filter(({ isMatch }) => !isMatch);
    case "Isolated":
      return [...spans];
    case "Contiguous":
      return joined(spans, (span, previous) => span.isMatch === (previous?.isMatch ?? false));
    case "MergedWithPrevious":
      return joined(spans, (span, previous) => span.isMatch && previous?.isMatch !== true);
    case "MergedWithNext":
      return joined(spans.toReversed(), (span, next) => span.isMatch && next?.isMatch !== true).toReversed();
  }
}

/** Joins each span to the last piece if `belongs`, which sees it and the span before it. */
function joined(spans: readonly Span[], belongs: (span: Span, before: Span | undefined) => boolean): Span[] {
  const pieces: Span[] = [];
  let before: Span | undefined;
  for (const span of spans) {
    const last = pieces.at(-1);
    if (last !== undefined && belongs(span, before)) {
      const start = Math.min(last.start, span.start);
      pieces[pieces.length - 1] = { start, end: Math.max(last.end, span.end), isMatch: span.isMatch };
    } else {
      pieces.push(span);
    }
    before = span;
  }
  return pieces;
}
