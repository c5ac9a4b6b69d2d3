import type { Estimate, MaskedQuality } from "@favor/measure";
import { z } from "zod";

/** A number of things. */
export const count: z.ZodType<number> = z.int().nonnegative();

export const estimateSchema: z.ZodType<Estimate> = z.object({ value: z.number(), low: z.number(), high: z.number() });

export const qualitySchema: z.ZodType<MaskedQuality> = z.object({
  accuracy: estimateSchema,
  perplexity: estimateSchema,
});
