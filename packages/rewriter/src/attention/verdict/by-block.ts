import { planRows, type RowPlan } from "../rows/row-plan.ts";
import type { RowProbes } from "../rows/row-probes.ts";
import type { BlockVerdict, WeightedSum } from "../site.ts";
import type { Region } from "../wiring/region.ts";

/**
 * Whether an attention can be computed by blocks of queries. Nothing is assumed of what lies between its two products but
 * that each row of the weights is made of its query's row: whether that is a softmax does not matter.
 */
export function blockVerdict(probes: RowProbes, region: Region): BlockVerdict {
  const { logits, output, probabilities, nodes, escapes } = region;
  const made = new Set([logits.output.value, ...nodes.flatMap((node) => node.output)]);
  if (escapes.length > 0)
    return { failure: `"${escapes[0]}", of the size of queries x keys, is needed elsewhere`, made };
  const sum: WeightedSum = { product: output, side: probabilities.side, made };
  const plan = planRows(probes, sum);
  return "failure" in plan ? { ...plan, made } : { sum };
}

/** The plan behind a verdict that says an attention is exact by block, made again on the graph as it is now. */
export function planOf(probes: RowProbes, sum: WeightedSum): RowPlan {
  const plan = planRows(probes, sum);
  if ("failure" in plan) throw new Error(`The rows of ${sum.product.node.name} were followed before: ${plan.failure}`);
  return plan;
}
