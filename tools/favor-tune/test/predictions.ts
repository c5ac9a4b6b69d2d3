import { predictsMasks } from "@favor/report";
import type { FavorFile, TunedPredictions } from "@favor/report";

/** What was measured of a masked language model. */
export function predictionsOf({ tuning }: FavorFile): TunedPredictions {
  const measured = tuning?.measured;
  if (measured === undefined || !predictsMasks(measured)) throw new Error("not measured by masked tokens");
  return measured;
}
