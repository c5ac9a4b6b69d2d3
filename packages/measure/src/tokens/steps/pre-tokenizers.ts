import { z } from "zod";

import { bytesAsCharacters, letters, numeric, punctuation, whitespace, wordCharacters } from "./characters.ts";
import { findCharacters, findExpression, findPattern, splitText } from "./pattern.ts";
import type { Find, SplitBehavior } from "./pattern.ts";
import { patternSchema, readStep } from "./read-step.ts";
import { UnsupportedStep } from "./step-error.ts";

/** A part of a text on its way to the model. */
export interface Piece {
  readonly text: string;
  /** Whether it is the beginning of the whole text. */
  readonly isFirst: boolean;
}

/** Splits and changes pieces. */
export type PreTokenize = (pieces: readonly Piece[]) => Piece[];

const behavior = z.enum(["Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"]);

const metaspaceSchema = z.strictObject({
  type: z.literal("Metaspace"),
  replacement: z.string(),
  prepend_scheme: z.enum(["first", "never", "always"]).optional(),
  split: z.boolean().default(true),
  // Older files.
  add_prefix_space: z.boolean().optional(),
  str_rep: z.string().optional(),
});

const schema = z.discriminatedUnion("type", [
  metaspaceSchema,
  z.strictObject({
    type: z.literal("ByteLevel"),
    add_prefix_space: z.boolean(),
    // Concerns offsets only.
    trim_offsets: z.boolean().optional(),
    use_regex: z.boolean().default(true),
  }),
  z.strictObject({ type: z.literal("CharDelimiterSplit"), delimiter: z.string() }),
  z.strictObject({ type: z.literal("Split"), pattern: patternSchema, behavior, invert: z.boolean() }),
  z.strictObject({ type: z.literal("Punctuation"), behavior: behavior.default("Isolated") }),
  z.strictObject({ type: z.literal("Digits"), individual_digits: z.boolean() }),
  z.strictObject({ type: z.literal("FixedLength"), length: z.int().positive() }),
  z.strictObject({ type: z.literal("Sequence"), pretokenizers: z.array(z.unknown()) }),
  z.looseObject({ type: z.enum(["BertPreTokenizer", "Whitespace", "WhitespaceSplit"]) }),
]);

const gpt2 = findExpression(
  new RegExp(
    String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?[${letters}]+| ?\p{N}+| ?[^\p{White_Space}${letters}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+`,
    "gv",
  ),
);
const words = findExpression(new RegExp(String.raw`[${wordCharacters}]+|[^${wordCharacters}\p{White_Space}]+`, "gv"));

/**
 * Makes what a `pre_tokenizer` of a `tokenizer.json` does.
 *
 * @throws {UnsupportedStep} for a kind or a setting that is not carried out exactly.
 */
export function makePreTokenizer(description: unknown): PreTokenize {
  if (description === null || description === undefined) return (pieces) => [...pieces];
  const step = readStep("pre-tokenizer", description, schema);
  switch (step.type) {
    case "Sequence": {
      const steps = step.pretokenizers.map((each, at) => {
        if (at > 0 && prependsToFirst(each)) {
          throw new UnsupportedStep('the pre-tokenizer "Metaspace" with the prepend_scheme "first" after another one');
        }
        return makePreTokenizer(each);
      });
      return (pieces) => steps.reduce<Piece[]>((split, each) => each(split), [...pieces]);
    }
    case "BertPreTokenizer":
      return inTurn(
        splitting(findCharacters(whitespace), "Removed"),
        splitting(findCharacters(punctuation), "Isolated"),
      );
    case "Whitespace":
      return splitting(words, "Removed", true);
    case "WhitespaceSplit":
      return splitting(findCharacters(whitespace), "Removed");
    case "CharDelimiterSplit":
      return splitting(findPattern({ String: step.delimiter }), "Removed");
    case "Split":
      return splitting(findPattern(step.pattern), step.behavior, step.invert);
    case "Punctuation":
      return splitting(findCharacters(punctuation), step.behavior);
    case "Digits":
      return splitting(findCharacters(numeric), step.individual_digits ? "Isolated" : "Contiguous");
    case "FixedLength":
      return splitting(findExpression(new RegExp(`[^]{1,${step.length}}`, "gu")), "Isolated");
    case "Metaspace":
      return metaspace(step);
    case "ByteLevel":
      return inTurn(
        step.add_prefix_space
          ? changing((text) => (text.startsWith(" ") ? text : ` ${text}`))
          : (pieces) => [...pieces],
        step.use_regex ? splitting(gpt2, "Isolated") : (pieces) => [...pieces],
        changing(bytesAsCharacters),
      );
  }
}

const first = z.looseObject({ type: z.literal("Metaspace"), prepend_scheme: z.literal("first") });
const sequence = z.looseObject({ type: z.literal("Sequence"), pretokenizers: z.array(z.unknown()) });

/**
 * Whether a step prepends to the beginning of the text only. What that is after other steps depends on offsets into the
 * original text.
 */
export function prependsToFirst(description: unknown): boolean {
  if (first.safeParse(description).success) return true;
  return sequence.safeParse(description).data?.pretokenizers.some(prependsToFirst) ?? false;
}

function inTurn(...steps: readonly PreTokenize[]): PreTokenize {
  return (pieces) => steps.reduce<Piece[]>((split, each) => each(split), [...pieces]);
}

function changing(change: (text: string) => string): PreTokenize {
  return (pieces) => pieces.map(({ text, isFirst }) => ({ text: change(text), isFirst }));
}

function splitting(find: Find, behaviorOfMatches: SplitBehavior, invert = false): PreTokenize {
  return (pieces) =>
    pieces.flatMap(({ text, isFirst }) =>
      splitText(text, find, behaviorOfMatches, invert).map(({ start, end }) => ({
        text: text.slice(start, end),
        isFirst: isFirst && start === 0,
      })),
    );
}

function metaspace(step: z.infer<typeof metaspaceSchema>): PreTokenize {
  const { replacement, str_rep: written = replacement, add_prefix_space: prefix } = step;
  const scheme = step.prepend_scheme ?? (prefix === false ? "never" : "always");
  if ([...replacement].length !== 1 || written !== replacement) {
    throw new UnsupportedStep(`the pre-tokenizer "Metaspace" with the replacement ${JSON.stringify(written)}`);
  }
  if (prefix === false && scheme !== "never") {
    throw new UnsupportedStep('the pre-tokenizer "Metaspace", whose add_prefix_space contradicts its prepend_scheme');
  }
  const replacing: PreTokenize = (pieces) =>
    pieces.map(({ text, isFirst }) => {
      const changed = text.replaceAll(" ", replacement);
      const isPrefixed = scheme === "always" || (scheme === "first" && isFirst);
      return { text: isPrefixed && !changed.startsWith(replacement) ? replacement + changed : changed, isFirst };
    });
  if (!step.split) return replacing;
  return inTurn(replacing, splitting(findPattern({ String: replacement }), "MergedWithNext"));
}
