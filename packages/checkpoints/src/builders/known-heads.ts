import type { CheckpointTask } from "./task.ts";

/** A head of a checkpoint, recognised by its weights. */
export interface Head {
  /** For people: "question answering". */
  readonly name: string;
  /** What it can be for; empty if no graph can be built with it, several if its weights do not tell. */
  readonly tasks: readonly CheckpointTask[];
  /** What it can be for if config.json says so. */
  readonly rarely?: CheckpointTask;
  /** The names of its weights, without the heads' prefix. */
  readonly weights: RegExp;
}

const plainClassifier = /^classifier\.(weight|bias)$/;

/** A head for masked language modelling, with the names of its weights. */
export function maskedLanguage(weights: RegExp): Head {
  return { name: "masked language modelling", tasks: ["fill-mask"], weights };
}

/** Whether a head can be for a task. */
export const isFor = (task: CheckpointTask, { tasks, rarely }: Head): boolean =>
  tasks.includes(task) || rarely === task;

const tokens: Head = { name: "classifying tokens", tasks: ["token-classification"], weights: plainClassifier };

/**
 * BERT's two classifiers have the same names, but only that of sequences needs the backbone's pooler. Token classifiers of
 * before transformers 4 were saved with one that they do not use.
 */
export function pooledClassifiers(hasPooler: boolean): Head {
  return hasPooler
    ? {
        name: "classifying sequences",
        tasks: ["text-classification"],
        rarely: "token-classification",
        weights: plainClassifier,
      }
    : tokens;
}

/** RoBERTa's classifiers, of which that of sequences has two layers. */
export const denseClassifiers: readonly Head[] = [
  {
    name: "classifying sequences",
    tasks: ["text-classification"],
    weights: /^classifier\.(dense|out_proj)\.(weight|bias)$/,
  },
  tokens,
];

/** DistilBERT's classifiers, of which that of sequences has a layer before it. */
export function precededClassifiers(hasFirst: boolean): Head {
  if (!hasFirst) return tokens;
  return {
    name: "classifying sequences",
    tasks: ["text-classification"],
    weights: /^(pre_classifier|classifier)\.(weight|bias)$/,
  };
}

/** ModernBERT's classifier, which may also answer questions: its weights do not tell. */
export const anyClassifier: Head = {
  name: "classifying sequences or tokens, or answering questions",
  tasks: ["text-classification", "token-classification"],
  weights: plainClassifier,
};

/** A head that no graph can be built with. */
export function otherHead(name: string, weights: RegExp): Head {
  return { name, tasks: [], weights };
}

export const questionAnswering: Head = otherHead("question answering", /^qa_outputs\.(weight|bias)$/);
