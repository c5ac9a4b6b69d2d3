import { poolingModes } from "@favor/checkpoints/node";
import type { Evaluation } from "@favor/measure";
import type { DataUse } from "@favor/measure/tokens";
import { z } from "zod";

import { count, estimateSchema, qualitySchema } from "./quality-schema.ts";

/** The schema of a data file's use. */
export const dataUseSchema: z.ZodType<DataUse> = z.object({
  file: z.string(),
  sha256: z.string(),
  sequences: count,
  tokens: count,
  unknown: count,
  truncated: count,
  longest: count.exactOptional(),
  windows: count.exactOptional(),
  windowTokens: count.exactOptional(),
  seed: count,
});

/** Quality by length; older files have none. */
const byLength = z
  .array(
    z.object({
      from: count,
      to: count,
      sequences: count,
      value: estimateSchema.exactOptional(),
      original: z.number().exactOptional(),
    }),
  )
  .default([]);

/** The schema of an {@link Evaluation}. */
export const evaluationSchema: z.ZodType<Evaluation> = z.union([
  z.object({
    kind: z.literal("masked-language"),
    data: dataUseSchema,
    maskedTokens: count,
    original: qualitySchema,
    converted: qualitySchema,
    accuracyKept: estimateSchema.optional(),
    byLength,
  }),
  z.object({
    kind: z.literal("next-token"),
    data: dataUseSchema,
    predictedTokens: count,
    original: qualitySchema,
    converted: qualitySchema,
    accuracyKept: estimateSchema.optional(),
    byLength,
  }),
  z.object({
    kind: z.literal("embedding"),
    data: dataUseSchema,
    output: z.string(),
    pooling: z
      .object({
        modes: z.array(z.enum(poolingModes)),
        after: z.array(z.string()),
        configured: z.string().exactOptional(),
      })
      .exactOptional(),
    similarity: z.enum(["cosine", "dot"]),
    vectors: count,
    width: count,
    cosine: estimateSchema,
    perSequence: z.array(z.number()),
    neighbours: z
      .object({ texts: count, kept: estimateSchema, rankCorrelation: z.number().exactOptional() })
      .exactOptional(),
    byLength,
  }),
  z.object({
    kind: z.literal("classification"),
    data: dataUseSchema,
    output: z.string(),
    classes: count,
    decision: z.enum(["one class", "several classes"]),
    vectors: count,
    agreement: estimateSchema,
    commonest: z.number(),
    byLength,
  }),
  z.object({
    kind: z.literal("output-cosine"),
    data: dataUseSchema,
    output: z.string(),
    vectors: count,
    cosine: estimateSchema,
    perSequence: z.array(z.number()),
    byLength,
  }),
  z.object({
    kind: z.literal("output-numbers"),
    data: dataUseSchema,
    output: z.string(),
    vectors: count,
    width: count,
    error: estimateSchema,
    rankCorrelation: z.number().optional(),
    byLength,
  }),
]);
