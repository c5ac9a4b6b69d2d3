import { variant } from "./architecture.ts";
import type { Configuration } from "./configuration.ts";

/** What a graph is for, by the Hub's names of pipelines. */
export type CheckpointTask = "fill-mask" | "feature-extraction" | "text-classification" | "token-classification";

/** Every {@link CheckpointTask}. */
export const checkpointTasks: readonly CheckpointTask[] = [
  "fill-mask",
  "feature-extraction",
  "text-classification",
  "token-classification",
];

/** By the end of an architecture's name in transformers. */
const taskByClass: readonly (readonly [end: RegExp, task: CheckpointTask])[] = [
  [/ForMaskedLM$/, "fill-mask"],
  // A discriminator, of whose head nobody makes use after pretraining.
  [/^ElectraForPreTraining$/, "feature-extraction"],
  [/ForPreTraining$/, "fill-mask"],
  [/ForSequenceClassification$/, "text-classification"],
  [/ForTokenClassification$/, "token-classification"],
  [/Model$/, "feature-extraction"],
];

/**
 * The task of a checkpoint: that of `architectures` in its configuration; where that names no class of transformers
 * ("AntiBERTy"), "fill-mask" if there is a masked language model's head, else "feature-extraction".
 *
 * @throws CheckpointError "unsupported-variant" for heads that are not built (question answering, multiple choice)
 */
export function taskOf(config: Configuration, hasMaskedLanguageHead: boolean): CheckpointTask {
  const [name = ""] = config.texts("architectures");
  const known = taskByClass.find(([end]) => end.test(name));
  if (known !== undefined) return known[1];
  if (/For[A-Z]\w*$/.test(name)) {
    throw variant("architectures", name, "This head is not built: ask for the task feature-extraction");
  }
  return hasMaskedLanguageHead ? "fill-mask" : "feature-extraction";
}
