import { z } from "zod";

import { readStep } from "./read-step.ts";

/** The special tokens around a text's own. */
export interface Surroundings {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const pair = z.tuple([z.string(), z.int().nonnegative()]);
const item = z.union([
  z.strictObject({ SpecialToken: z.looseObject({ id: z.string() }) }),
  z.strictObject({ Sequence: z.looseObject({ id: z.enum(["A", "B"]) }) }),
]);
const around = {
  sep: pair,
  cls: pair,
  // These two concern offsets only.
  trim_offsets: z.boolean().optional(),
  add_prefix_space: z.boolean().optional(),
};
const templateSchema = z.strictObject({
  type: z.literal("TemplateProcessing"),
  single: z.array(item),
  pair: z.unknown(),
  special_tokens: z.record(z.string(), z.looseObject({ ids: z.array(z.int().nonnegative()) })),
});
const schema = z.discriminatedUnion("type", [
  templateSchema,
  z.strictObject({ type: z.literal("BertProcessing"), ...around }),
  z.strictObject({ type: z.literal("RobertaProcessing"), ...around }),
  z.strictObject({ type: z.literal("Sequence"), processors: z.array(z.unknown()) }),
  z.looseObject({ type: z.literal("ByteLevel") }),
]);

/**
 * Reads which tokens a `post_processor` of a `tokenizer.json` puts around a single text.
 *
 * @throws {UnsupportedStep} for a kind that is not carried out exactly.
 */
export function readSurroundings(description: unknown): Surroundings {
  if (description === null || description === undefined) return { before: [], after: [] };
  const step = readStep("post-processor", description, schema);
  switch (step.type) {
    case "ByteLevel":
      return { before: [], after: [] };
    case "BertProcessing":
    case "RobertaProcessing":
      return { before: [step.cls[1]], after: [step.sep[1]] };
    case "Sequence":
      return step.processors.map(readSurroundings).reduce((inner, outer) => ({
        before: [...outer.before, ...inner.before],
        after: [...inner.after, ...outer.after],
      }));
    case "TemplateProcessing":
      return template(step);
  }
}

function template({ single, special_tokens: specials }: z.infer<typeof templateSchema>): Surroundings {
  const at = single.findIndex((each) => "Sequence" in each);
  const idsIn = (items: typeof single): number[] =>
    items.flatMap((each) => {
      if (!("SpecialToken" in each)) throw new Error("the template of a single text has more than one text");
      const token = specials[each.SpecialToken.id];
      if (token === undefined) throw new Error(`the template names ${each.SpecialToken.id}, which it does not define`);
      return token.ids;
    });
  if (at < 0) throw new Error("the template of a single text has no place for it");
  return { before: idsIn(single.slice(0, at)), after: idsIn(single.slice(at + 1)) };
}
