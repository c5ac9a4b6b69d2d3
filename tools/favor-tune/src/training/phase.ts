import type { ModelProto } from "@favor/onnx";
import type { DistilledSite } from "@favor/report";

import type { PhaseSettings } from "../settings.ts";
import type { TrainingStage } from "./stage.ts";

/** One stretch of a run: a stage of the converted model, or the fine-tuning of the softmax control. */
export interface Phase {
  readonly name: "distill" | "mlm" | "control";
  readonly settings: PhaseSettings;
  /** Whose weights change. */
  readonly target: "model" | "control";
  /** The file's graph, which weights are put into: the converted model, or the original. */
  readonly base: ModelProto;
  /** The epoch of the data that it begins with: another order than another phase's. The control sees what MLM saw. */
  readonly firstEpoch: number;
  /** Steps of the target's earlier phases: where its curve goes on. */
  readonly offset: number;
  /** Loads the stage on the backend, with the weights of the target's earlier phases. */
  open(model: ModelProto): Promise<TrainingStage>;
  /** What the phase did to each attention, given the model with the weights that it ended with; of distillation. */
  compare?(model: ModelProto): Promise<readonly DistilledSite[]>;
}
