import type { DifferingSite } from "./differing-sites.ts";

/**
 * Whether a site's estimate of attention may be negative (trigonometric features, kernels such as tanh). Conversion holds
 * the normaliser of positive features above zero by a maximum; one of either sign it only keeps from being zero, by a
 * choice.
 */
export function isSignedEstimate({ nodes }: DifferingSite): boolean {
  const producers = new Map(nodes.flatMap((node) => node.output.map((value) => [value, node.opType] as const)));
  return nodes.some(({ opType, input }) => opType === "Div" && producers.get(input[1]!) === "Where");
}
