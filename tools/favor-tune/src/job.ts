import type { Progress } from "@favor/checkpoints";

import type { OpenedBackend } from "./backends/backend.ts";
import type { TuningData } from "./data/tuning-data.ts";
import type { TuneRequest } from "./request.ts";
import type { Settings } from "./settings.ts";
import type { ConvertedModel } from "./source/converted-model.ts";
import type { OriginalModel } from "./source/original-model.ts";

/** Everything that a run works with. */
export interface Job {
  readonly request: TuneRequest;
  readonly settings: Settings;
  readonly converted: ConvertedModel;
  readonly teacher: OriginalModel | undefined;
  readonly data: TuningData;
  readonly backend: OpenedBackend;
  /** Folder of the checkpoints and temporary files. */
  readonly folder: string;
  readonly progress: Progress;
}
