import { z } from "zod";

import { count } from "./quality-schema.ts";

/** What a model card says of a model besides its numbers: where it comes from, what it is for, and how it is fed. */
export interface CardFacts {
  /** The repository on the Hub that the checkpoint comes from. */
  readonly repository?: string;
  /** The licence, by the Hub's identifier: `apache-2.0`. */
  readonly license?: string;
  /** The task, by the Hub's name of its pipeline: `fill-mask`. */
  readonly pipeline?: string;
  /** The inputs in their order; `int64` tokens for most models. */
  readonly inputs: readonly { readonly name: string; readonly type: string }[];
  readonly outputs: readonly string[];
  /** A text that the tokenizer can read, with its mask token if it has one. Absent without a `tokenizer.json`. */
  readonly example?: { readonly text: string; readonly mask?: string };
  /** Whether transformers.js finds what it needs in the folder. */
  readonly transformersJs?: true;
  /** Bytes of all weights, in the original and in the converted model. */
  readonly weights: { readonly before: number; readonly after: number };
}

/** The schema of {@link CardFacts}. */
export const cardFactsSchema: z.ZodType<CardFacts> = z.object({
  repository: z.string().exactOptional(),
  license: z.string().exactOptional(),
  pipeline: z.string().exactOptional(),
  inputs: z.array(z.object({ name: z.string(), type: z.string() })),
  outputs: z.array(z.string()),
  example: z.object({ text: z.string(), mask: z.string().exactOptional() }).exactOptional(),
  transformersJs: z.literal(true).exactOptional(),
  weights: z.object({ before: count, after: count }),
});
