import { InputError } from "@favor/checkpoints";

/** A conversion that was judged. */
export interface Judged {
  /** Points of accuracy, or of the cosine. */
  readonly loss: number;
}

/**
 * The conversion with as few softmax layers as the budget takes: layers stay softmax in the order given, the largest
 * error first, and the number of them is found by bisection, for more of them lose less.
 *
 * @param layers - that may stay, by falling error; at least one of them is converted.
 * @param judge - converts with these layers kept, and measures.
 * @throws {InputError} `budget-unreachable` if even one converted layer loses more.
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
    `No layer can be converted within a loss of ${budget} points: the least found is ${least.toFixed(2)}. Raise --budget, ` +
      `or lower the error with a larger --count, --calibrate, or --refine 40.`,
    { code: "budget-unreachable", details: { budget, least } },
  );
}
