import { isDeepStrictEqual } from "node:util";
import { openSourceModel } from "@favor/checkpoints/node";
import type { Source } from "@favor/checkpoints/node";
import type { Check } from "@favor/measure";
import type { FavorFile } from "@favor/report";
import { findAttention } from "@favor/rewriter";

import { maskOperations } from "./request.ts";

/**
 * Proves again, from the original, that each attention that was converted may be: a newer version of Favor may know of
 * masks that the version that converted it did not.
 */
export async function checkProof(original: Source, favor: FavorFile): Promise<Check> {
  const opened = await openSourceModel(original);
  try {
    const { sites } = findAttention(opened.model, { maskOperations });
    const converted = favor.sites.filter(({ state }) => state !== "unchanged");
    const doubtful = converted.flatMap(({ site, layer, mask, state }) => {
      const now = sites[site];
      if (now === undefined) return [`layer ${layer} is not found again`];
      if (state === "exact by block" && now.possible.includes(state)) return [];
      if (now.verdict === "refuse") return [`layer ${layer}: ${now.reasons[0]?.message ?? "refused"}`];
      if (!isDeepStrictEqual(now.mask.band, mask.band)) return [`layer ${layer} has another window`];
      if (!isDeepStrictEqual(now.mask.alibi, mask.alibi)) return [`layer ${layer} has other ALiBi slopes`];
      return now.mask.kind === mask.kind ? [] : [`layer ${layer} has the mask "${now.mask.kind}", not "${mask.kind}"`];
    });
    const count = `${converted.length} of ${converted.length}`;
    return {
      name: "attention may be replaced",
      passed: doubtful.length === 0,
      found: doubtful[0] ?? `${count} converted layers are proved again`,
    };
  } finally {
    opened.close();
  }
}
