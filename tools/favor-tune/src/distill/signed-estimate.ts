import type { DifferingSite } from "./differing-sites.ts";

/**
 * Whether a site's estimate of attention may be negative (trigonometric features, kernels such as tanh). The conversion
 * bounds the normaliser of positive features with a maximum, but replaces a normaliser of either sign only if it is 0,
 * with a Where node, which is recognised here.
 */
export function isSignedEstimate({ nodes }: DifferingSite): boolean {
  const producers = new Map(nodes.flatMap((node) => node.output.map((value) => [value, node.opType] as const)));
  return nodes.some(({ opType, input }) => opType === "Div" && producers.get(input[1]!) === "Where");
}
