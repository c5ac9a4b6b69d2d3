import { z } from "zod";

import type { Pattern } from "./pattern.ts";
import { UnsupportedStep } from "./step-error.ts";

export const patternSchema: z.ZodType<Pattern> = z.union([
  z.strictObject({ String: z.string() }),
  z.strictObject({ Regex: z.string() }),
]);

const typed = z.looseObject({ type: z.string() });

/**
 * Reads one part of a `tokenizer.json`. Settings that Favor does not know are refused: they could change the ids.
 *
 * @param role - `normalizer`, for messages.
 * @param schema - every kind that Favor carries out.
 * @throws {UnsupportedStep}
 */
export function readStep<T>(role: string, description: unknown, schema: z.ZodType<T>): T {
  const step = schema.safeParse(description);
  if (step.success) return step.data;
  const { type } = typed.safeParse(description).data ?? {};
  const [issue] = step.error.issues;
  if (type === undefined) throw new UnsupportedStep(`a ${role} without a type`);
  if (issue?.code === "invalid_union" && issue.path.join(".") === "type") {
    throw new UnsupportedStep(`the ${role} ${JSON.stringify(type)}`);
  }
  const where = issue === undefined || issue.path.length === 0 ? "" : `"${issue.path.join(".")}": `;
  throw new UnsupportedStep(
    `the ${role} ${JSON.stringify(type)} with settings that Favor does not know (${where}${issue?.message ?? "unknown"})`,
  );
}
