import { CheckpointError } from "../formats/errors.ts";
import type { Architecture } from "./architecture.ts";
import { isFor, type Head } from "./known-heads.ts";
import type { Places } from "./places.ts";
import { chooseTask, type CheckpointTask } from "./task.ts";
import { listed } from "./weights.ts";

/** The weights that a graph does not use. */
export interface LeftOver {
  /** Modules of known heads that the graph does not have. */
  readonly heads: readonly string[];
  /** Other weights outside of the encoder, and of its heads. */
  readonly outside: readonly string[];
  /** Weights that may change what the model computes: adapters, other positions, parts of the graph's own head. */
  readonly unexpected: readonly string[];
}

/** Sorts the unused weights; those that no graph needs (buffers, poolers) are left out. */
export function leftOver(
  architecture: Architecture,
  places: Places,
  heads: readonly Head[],
  task: CheckpointTask,
): LeftOver {
  const { all, backbone, heads: outer } = places;
  const modules = new Set<string>();
  const unexpected: string[] = [];
  const outside: string[] = [];
  for (const name of all.unused()) {
    const isInner = name.startsWith(backbone.prefix);
    if (isInner && architecture.dispensable.test(name.slice(backbone.prefix.length))) continue;
    const local = name.startsWith(outer.prefix) ? name.slice(outer.prefix.length) : name;
    const owners = heads.filter(({ weights }) => weights.test(local));
    const isOther = owners.length > 0 && !owners.some((head) => isFor(task, head));
    if (isOther) modules.add(name.slice(0, name.lastIndexOf(".")));
    else if (owners.length === 0 && !isInner) outside.push(name);
    else unexpected.push(name);
  }
  return { heads: [...modules], outside, unexpected };
}

/** @throws CheckpointError "unexpected-weights" if there are any */
export function refuseUnexpected(unexpected: readonly string[]): void {
  if (unexpected.length === 0) return;
  throw new CheckpointError(
    "unexpected-weights",
    `The checkpoint has ${unexpected.length} weights that its architecture does not know: ${listed(unexpected)}. The ` +
      `graph might not compute the same as the model. If the encoder is all you need, choose the task feature-extraction ` +
      `${chooseTask}; if you know that they are not needed, set the option \`ignoreUnexpected\` of \`buildModel\`.`,
    { unexpected },
  );
}
