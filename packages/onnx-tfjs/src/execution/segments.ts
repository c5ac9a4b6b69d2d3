import type { NodeProto } from "@favor/onnx";
import type { Plan, Step } from "./plan.ts";

/** A stretch of a run: from values that are there to values that later stretches need. */
export interface Segment {
  /** What its nodes read that is computed before it, or fed. */
  readonly reads: readonly string[];
  /** Initializers that its nodes read. */
  readonly initializers: readonly string[];
  /** What is alive after it: computed in it or before it, and needed later or wanted. */
  readonly alive: readonly string[];
}

/**
 * Divides a run into at most `count` segments, cut where the fewest values that depend on weights are alive: between the
 * layers of a Transformer that is one, the hidden state. Values of shapes, masks and constants pass freely.
 *
 * @param weights names of the initializers that are variables
 * @param fed names of the feeds
 */
export function segmentsOf(
  plan: Plan,
  wanted: readonly string[],
  fed: ReadonlySet<string>,
  weights: ReadonlySet<string>,
  count: number,
): Segment[] {
  const steps = plan.steps(wanted, fed);
  const dependent = dependentNames(plan, steps, weights);
  const alive = new Set<string>();
  const boundaries: { readonly alive: readonly string[]; readonly cost: number }[] = [];
  for (const { node, release } of steps) {
    for (const name of node.output) if (name !== "") alive.add(name);
    for (const name of release) alive.delete(name);
    const names = [...alive];
    boundaries.push({ alive: names, cost: names.filter((name) => dependent.has(name)).length });
  }
  const isComputed = (name: string): boolean => fed.has(name) || plan.producers.has(name);
  const ends = [...cuts(boundaries, count), steps.length - 1];
  return ends.map((end, i): Segment => {
    const own = steps.slice(i === 0 ? 0 : ends[i - 1]! + 1, end + 1).map(({ node }) => node);
    const made = new Set(own.flatMap(({ output }) => output));
    const read = [...new Set(own.flatMap((node) => plan.reads(node)))].filter((name) => name !== "" && !made.has(name));
    return {
      reads: read.filter(isComputed),
      initializers: read.filter((name) => !isComputed(name)),
      alive: boundaries[end]!.alive,
    };
  });
}

/** Steps to cut after, near even distances: each the cheapest of its surroundings. */
function cuts(boundaries: readonly { readonly cost: number }[], count: number): number[] {
  const distance = boundaries.length / count;
  const found = new Set<number>();
  for (let cut = 1; cut < count; cut++) {
    const middle = Math.round(cut * distance) - 1;
    let best: number | undefined;
    for (let i = Math.ceil(middle - distance / 2); i < middle + distance / 2; i++) {
      if (i < 0 || i >= boundaries.length - 1) continue;
      const better = best === undefined ? 1 : boundaries[best]!.cost - boundaries[i]!.cost;
      if (better > 0 || (better === 0 && Math.abs(i - middle) < Math.abs(best! - middle))) best = i;
    }
    if (best !== undefined) found.add(best);
  }
  return [...found].toSorted((a, b) => a - b);
}

function dependentNames(plan: Plan, steps: readonly Step[], weights: ReadonlySet<string>): Set<string> {
  const dependent = new Set<string>();
  const depends = (node: NodeProto): boolean =>
    !/^(Shape|Size)$/.test(node.opType) && plan.reads(node).some((name) => weights.has(name) || dependent.has(name));
  for (const { node } of steps) if (depends(node)) for (const name of node.output) dependent.add(name);
  return dependent;
}
