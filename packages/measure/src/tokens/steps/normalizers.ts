import { z } from "zod";

import {
  bytesAsCharacters,
  cjk,
  controls,
  lowerCase,
  marks,
  nmtRemoved,
  nmtSpaces,
  nonspacingMarks,
  normalForm,
  whitespace,
} from "./characters.ts";
import { findPattern } from "./pattern.ts";
import { precompiledMap } from "./precompiled-map.ts";
import { patternSchema, readStep } from "./read-step.ts";

/** Changes a text before it is split. */
export type Normalize = (text: string) => string;

const flag = z.boolean();
const bertSchema = z.strictObject({
  type: z.literal("BertNormalizer"),
  clean_text: flag,
  handle_chinese_chars: flag,
  strip_accents: flag.nullish(),
  lowercase: flag,
});
const schema = z.discriminatedUnion("type", [
  bertSchema,
  z.strictObject({ type: z.literal("Strip"), strip_left: flag, strip_right: flag }),
  z.strictObject({ type: z.literal("Replace"), pattern: patternSchema, content: z.string() }),
  z.strictObject({ type: z.literal("Prepend"), prepend: z.string() }),
  z.strictObject({ type: z.literal("Precompiled"), precompiled_charsmap: z.string().nullable() }),
  z.strictObject({ type: z.literal("Sequence"), normalizers: z.array(z.unknown()) }),
  z.looseObject({
    type: z.enum(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"]),
  }),
]);

const plain = {
  NFC: (text) => normalForm(text, "NFC"),
  NFD: (text) => normalForm(text, "NFD"),
  NFKC: (text) => normalForm(text, "NFKC"),
  NFKD: (text) => normalForm(text, "NFKD"),
  Lowercase: lowerCase,
  StripAccents: (text) => text.replace(marks, ""),
  Nmt: (text) => text.replace(nmtRemoved, "").replace(nmtSpaces, " "),
  ByteLevel: bytesAsCharacters,
} satisfies Readonly<Record<string, Normalize>>;

/**
 * Makes what a `normalizer` of a `tokenizer.json` does.
 *
 * @param readMap - what a precompiled character map does.
 * @throws {UnsupportedStep} for a kind or a setting that is not carried out exactly.
 */
export function makeNormalizer(
  description: unknown,
  readMap: (charsmap: string) => Normalize = precompiledMap,
): Normalize {
  if (description === null || description === undefined) return (text) => text;
  const step = readStep("normalizer", description, schema);
  switch (step.type) {
    case "Sequence": {
      const steps = step.normalizers.map((each) => makeNormalizer(each, readMap));
      return (text) => steps.reduce((changed, each) => each(changed), text);
    }
    case "BertNormalizer":
      return bertNormalizer(step);
    case "Strip":
      return (text) => strip(text, step.strip_left, step.strip_right);
    case "Prepend":
      return (text) => (text === "" ? "" : step.prepend + text);
    case "Precompiled":
      return step.precompiled_charsmap === null ? (text) => text : readMap(step.precompiled_charsmap);
    case "Replace": {
      const find = findPattern(step.pattern);
      return (text) =>
        text === ""
          ? ""
          : find(text)
              .map(({ start, end, isMatch }) => (isMatch ? step.content : text.slice(start, end)))
              .join("");
    }
    default:
      return plain[step.type];
  }
}

function bertNormalizer(step: z.infer<typeof bertSchema>): Normalize {
  const everyControl = new RegExp(controls.source, "gv");
  const everySpace = new RegExp(whitespace.source, "gv");
  return (text) => {
    let changed = text;
    if (step.clean_text) changed = changed.replace(everyControl, "").replace(everySpace, " ");
    if (step.handle_chinese_chars) changed = changed.replace(cjk, (character) => ` ${character} `);
    if (step.strip_accents ?? step.lowercase) changed = normalForm(changed, "NFD").replace(nonspacingMarks, "");
    return step.lowercase ? lowerCase(changed) : changed;
  };
}

const leading = new RegExp(`^${whitespace.source}+`, "u");

function strip(text: string, left: boolean, right: boolean): string {
  const begun = left ? text.replace(leading, "") : text;
  let end = begun.length;
  // All white space lies in the basic plane. A pattern with an end would take quadratic time.
  if (right) while (end > 0 && whitespace.test(begun[end - 1]!)) end--;
  return begun.slice(0, end);
}

const replacement = z.looseObject({ type: z.literal("Replace"), pattern: z.unknown() });
const sequence = z.looseObject({ type: z.literal("Sequence"), normalizers: z.array(z.unknown()) });
const ofSpaces: ReadonlySet<string> = new Set([JSON.stringify({ Regex: " {2,}" }), JSON.stringify({ String: " " })]);

/** Whether a step replaces anything but spaces, after which offsets into the original text are hard to tell. */
export function replacesMoreThanSpaces(description: unknown): boolean {
  const found = replacement.safeParse(description).data;
  if (found !== undefined) return !ofSpaces.has(JSON.stringify(found.pattern));
  return sequence.safeParse(description).data?.normalizers.some(replacesMoreThanSpaces) ?? false;
}
