import { textTable } from "favor-convert/command-line";

import { qualityRows, tuningSummary } from "./report/tuning-section.ts";
import type { TuneResult } from "./tune.ts";

/** What the command line prints. */
export function tuningText({ folder, favor }: TuneResult): string {
  const { tuning } = favor;
  if (tuning === undefined) return `Wrote ${folder}.`;
  const table = textTable(["model", "masked accuracy (95 %)", "perplexity (95 %)"], qualityRows(tuning.measured));
  return [table, tuningSummary(tuning), `Wrote ${folder} (see report.html there).`].join("\n");
}
