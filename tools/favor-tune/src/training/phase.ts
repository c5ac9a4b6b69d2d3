import type { ModelProto } from "@favor/onnx";
import type { DistilledSite } from "@favor/report";

import type { Stage } from "../request.ts";
import type { PhaseSettings } from "../settings.ts";
import type { TrainingStage } from "./stage.ts";

/** A phase of a run: a stage of the converted model, or the fine-tuning of the softmax control. */
export interface Phase {
  readonly name: Stage | "control";
  readonly settings: PhaseSettings;
  /** The model whose weights change. */
  readonly target: "model" | "control";
  /** The graph to which weights are applied: the converted model or the original. */
  readonly base: ModelProto;
  /** The first epoch of the data: phases see different orders, but the control sees the same as MLM. */
  readonly firstEpoch: number;
  /** Steps of the target's earlier phases, where its curve continues. */
  readonly offset: number;
  /** Loads the stage on the backend, with the weights of the target's earlier phases. */
  open(model: ModelProto): Promise<TrainingStage>;
  /** For distillation: compares each attention before and after, given the model with its final weights. */
  compare?(model: ModelProto): Promise<readonly DistilledSite[]>;
}
