import { CheckpointError } from "../formats/errors.ts";
import type { Configuration } from "./configuration.ts";
import { isFor, type Head } from "./known-heads.ts";
import { chooseTask, type CheckpointTask } from "./task.ts";

/** Tasks by the end of an architecture's name in transformers. */
const taskByClass: readonly (readonly [end: RegExp, task: CheckpointTask])[] = [
  [/ForMaskedLM$/, "fill-mask"],
  // Without `is_decoder`, which is refused elsewhere, these see both sides, and compute what a masked one computes.
  [/(LMHeadModel|ForCausalLM)$/, "fill-mask"],
  // A discriminator, whose head is not used after pretraining.
  [/^ElectraForPreTraining$/, "feature-extraction"],
  [/ForPreTraining$/, "fill-mask"],
  [/ForSequenceClassification$/, "text-classification"],
  [/ForTokenClassification$/, "token-classification"],
  [/Model$/, "feature-extraction"],
];

/** A task, and what the user should know about how it was chosen. */
export interface ChosenTask {
  readonly task: CheckpointTask;
  readonly notes: readonly string[];
}

/**
 * The task of a checkpoint, from `architectures` in its configuration and the heads that its weights have. A class whose
 * head is missing altogether gives the bare encoder, with a note. If the configuration names no class of transformers
 * ("AntiBERTy", or none), the only head counts.
 *
 * @param heads - the heads whose weights the checkpoint has.
 * @throws CheckpointError "unsupported-variant" for unsupported heads (question answering, multiple choice), and where
 *   classes or heads contradict each other
 */
export function taskOf(config: Configuration, heads: readonly Head[]): ChosenTask {
  const classes = config.texts("architectures");
  const known = classes.flatMap((name) => taskByClass.find(([end]) => end.test(name))?.[1] ?? []);
  const unknown = classes.find((name) => /For[A-Z]\w*$/.test(name) && !taskByClass.some(([end]) => end.test(name)));
  if (unknown !== undefined) {
    throw headError(
      classes,
      `The head of ${unknown} is not supported. Choose another task ${chooseTask}, for example feature-extraction, or ` +
        "export the model to ONNX and convert the export",
    );
  }
  const [task, ...others] = [...new Set(known)];
  if (others.length > 0) {
    throw headError(classes, `These have different heads. Choose a task ${chooseTask}`);
  }
  return task === undefined ? byWeights(classes, heads) : byClass(task, classes, heads);
}

/** The class's task, unless its head is missing. */
function byClass(task: CheckpointTask, classes: readonly string[], heads: readonly Head[]): ChosenTask {
  if (task === "feature-extraction" || heads.some((head) => isFor(task, head))) return { task, notes: [] };
  const [other] = heads;
  if (other !== undefined) {
    throw headError(
      classes,
      `The weights have no such head, but one for ${other.name}. Correct config.json, or choose a task ${chooseTask}`,
    );
  }
  return {
    task: "feature-extraction",
    notes: [
      `config.json names ${classes.join(", ")}, but the weights have no head of it, so the graph was built for ` +
        "feature-extraction: its output is the last hidden state.",
    ],
  };
}

/** The task of the only head. */
function byWeights(classes: readonly string[], heads: readonly Head[]): ChosenTask {
  const what = classes.length === 0 ? "config.json names no architectures" : `config.json names ${classes.join(", ")}`;
  const able = heads.filter(({ tasks }) => tasks.length > 0);
  if (able.length > 1) throw undecided(`${what}, and the weights have ${able.length} heads`, able);
  const [head] = able;
  if (head === undefined) {
    if (heads.length > 0 && classes.length === 0) throw undecided(`${what}, and the weights have another head`, heads);
    return { task: "feature-extraction", notes: [] };
  }
  const [task, ...others] = head.tasks;
  if (others.length > 0) throw undecided(`${what}, and the weights do not tell what their head is for`, [head]);
  if (task === "fill-mask") return { task, notes: [] };
  return {
    task: task!,
    notes: [
      `${what}; the weights have a head for ${head.name}, so the graph was built for ${task}. If that is wrong, choose ` +
        `another task ${chooseTask}.`,
    ],
  };
}

function headError(classes: readonly string[], what: string): CheckpointError {
  const found = `config.json: architectures is ${JSON.stringify(classes)}.`;
  return new CheckpointError("unsupported-variant", `${found} ${what}.`, { name: "architectures", value: classes });
}

function undecided(found: string, heads: readonly Head[]): CheckpointError {
  const names = heads.map(({ name }) => name);
  const tasks = [...new Set(heads.flatMap((head) => head.tasks)), "feature-extraction"];
  return new CheckpointError(
    "unsupported-variant",
    `${found} (${names.join(", ")}). Choose the task ${chooseTask}: ${tasks.join(", ")}.`,
    { name: "architectures", heads: names },
  );
}
