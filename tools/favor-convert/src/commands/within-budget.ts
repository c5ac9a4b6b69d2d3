import { InputError } from "@favor/checkpoints";
import type { SiteError } from "@favor/report";
import type { ConvertedSite } from "@favor/rewriter";

/** A measured conversion. */
export interface Judged {
  /** Loss in points of accuracy or of the cosine. */
  readonly loss: number;
}

/** Layers with linear attention, those with the largest error first: the order in which they are kept. */
export function layersByError(
  sites: readonly ConvertedSite[],
  errors: readonly (SiteError | undefined)[],
): readonly number[] {
  const layers = new Map<number, number>();
  for (const { site, layer, state } of sites) {
    if (state === "linear") layers.set(layer, Math.max(layers.get(layer) ?? 0, errors[site]?.mean ?? 0));
  }
  return [...layers].toSorted(([, a], [, b]) => b - a).map(([layer]) => layer);
}

/**
 * Finds the conversion that stays within the budget with as few softmax layers as possible. Layers are kept in the given
 * order, and their number is found by bisection: the more layers are kept, the smaller the loss.
 *
 * @param layers - layers that may be kept, by decreasing error; at least one of them is converted.
 * @param judge - converts with these layers kept, and measures the loss.
 * @throws {InputError} `budget-unreachable` if the loss exceeds the budget even with one converted layer.
 */
export async function withinBudget<Result extends Judged>(
  budget: number,
  layers: readonly number[],
  judge: (keep: readonly number[]) => Promise<Result>,
): Promise<Result> {
  const none = await judge([]);
  if (none.loss <= budget) return none;
  let best: Result | undefined;
  let least = none.loss;
  let tooFew = 0;
  let enough = layers.length;
  while (enough - tooFew > 1) {
    const count = Math.floor((enough + tooFew) / 2);
    const found = await judge(layers.slice(0, count));
    least = Math.min(least, found.loss);
    if (found.loss <= budget) {
      best = found;
      enough = count;
    } else {
      tooFew = count;
    }
  }
  if (best !== undefined) return best;
  throw new InputError(
    `No layer can be converted within a loss of ${budget} points: the smallest loss found is ${least.toFixed(2)}. Raise ` +
      `--budget, or reduce the error with a larger --count, --calibrate or --refine 40.`,
    { code: "budget-unreachable", details: { budget, least } },
  );
}
