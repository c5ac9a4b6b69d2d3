/** The task of a graph, by the Hub's names of pipelines. */
export type CheckpointTask = "fill-mask" | "feature-extraction" | "text-classification" | "token-classification";

/** Every {@link CheckpointTask}. */
export const checkpointTasks: readonly CheckpointTask[] = [
  "fill-mask",
  "feature-extraction",
  "text-classification",
  "token-classification",
];

/** How the caller chooses a task, to end a sentence. */
export const chooseTask = "with the option `task` (--task on the command line)";
