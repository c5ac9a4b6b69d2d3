import { variant } from "./architecture.ts";
import type { Configuration } from "./configuration.ts";

/** The task of a graph, by the Hub's names of pipelines. */
export type CheckpointTask = "fill-mask" | "feature-extraction" | "text-classification" | "token-classification";

/** Every {@link CheckpointTask}. */
export const checkpointTasks: readonly CheckpointTask[] = [
  "fill-mask",
  "feature-extraction",
  "text-classification",
  "token-classification",
];

/** Tasks by the end of an architecture's name in transformers. */
const taskByClass: readonly (readonly [end: RegExp, task: CheckpointTask])[] = [
  [/ForMaskedLM$/, "fill-mask"],
  // A discriminator, whose head is not used after pretraining.
  [/^ElectraForPreTraining$/, "feature-extraction"],
  [/ForPreTraining$/, "fill-mask"],
  [/ForSequenceClassification$/, "text-classification"],
  [/ForTokenClassification$/, "token-classification"],
  [/Model$/, "feature-extraction"],
];

/**
 * The task of a checkpoint, from `architectures` in its configuration. If that is not a class of transformers
 * ("AntiBERTy"), it is "fill-mask" with a masked language model's head, otherwise "feature-extraction".
 *
 * @throws CheckpointError "unsupported-variant" for unsupported heads (question answering, multiple choice)
 */
export function taskOf(config: Configuration, hasMaskedLanguageHead: boolean): CheckpointTask {
  const [name = ""] = config.texts("architectures");
  const known = taskByClass.find(([end]) => end.test(name));
  if (known !== undefined) return known[1];
  if (/For[A-Z]\w*$/.test(name)) {
    throw variant("architectures", name, "This head is not supported: choose the task feature-extraction");
  }
  return hasMaskedLanguageHead ? "fill-mask" : "feature-extraction";
}
