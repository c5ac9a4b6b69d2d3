import { openSourceModel } from "@favor/checkpoints/node";
import type { Source } from "@favor/checkpoints/node";
import { longestInputOf } from "@favor/rewriter";

/** How long an input of a source may be, in tokens, by the position tables of its graph; see `longestInputOf`. */
export async function longestInputOfSource(source: Source): Promise<ReturnType<typeof longestInputOf>> {
  const opened = await openSourceModel(source);
  try {
    return longestInputOf(opened.model);
  } finally {
    opened.close();
  }
}
