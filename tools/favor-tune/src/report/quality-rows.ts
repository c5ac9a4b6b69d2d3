import type { MaskedQuality } from "@favor/measure";
import { measuresOf, shownMeasure } from "@favor/measure/judgement";
import { percentWithInterval, short, withInterval } from "@favor/measure/numbers";
import type { TunedPredictions, TunedUse, TuningRecord } from "@favor/report";

/** Sums up in one sentence what distillation did; undefined if nothing was distilled. */
export function distillationSummary({ stages }: TuningRecord): string | undefined {
  const sites = stages.flatMap(({ sites: found = [] }) => found);
  if (sites.length === 0) return undefined;
  const mean = (when: "before" | "after"): string =>
    short(sites.reduce((sum, site) => sum + site[when], 0) / sites.length);
  const counted = sites.length === 1 ? "1 attention" : `${sites.length} attentions`;
  return `Distillation: the mean error of ${counted} went from ${mean("before")} to ${mean("after")} of the output's variance.`;
}

/** Name, accuracy and perplexity of every model that was measured. */
export function qualityRows({ original, before, after, control }: TunedPredictions): string[][] {
  return predictionRows([
    ["original (softmax)", original],
    ["converted", before],
    ["converted and tuned", after],
    ["original, tuned in the same way (control)", control],
  ]);
}

/** Name, accuracy and perplexity of models; those that were not measured are left out. */
export function predictionRows(rows: readonly (readonly [string, MaskedQuality | undefined])[]): string[][] {
  return rows.flatMap(([name, quality]) =>
    quality === undefined ? [] : [[name, percentWithInterval(quality.accuracy), withInterval(quality.perplexity)]],
  );
}

/** The columns of {@link useRows}. */
export const useColumns: readonly string[] = ["measure", "converted", "converted and tuned"];

/** What a model that does not predict masked tokens is judged by, before and after. */
export function useRows({ before, after }: TunedUse): string[][] {
  const tuned = new Map(measuresOf(after).map(({ measure, value }) => [measure, value]));
  return measuresOf(before).map(({ measure, value }) => {
    const now = tuned.get(measure);
    return [measure, shownMeasure(measure, value), now === undefined ? "" : shownMeasure(measure, now)];
  });
}
