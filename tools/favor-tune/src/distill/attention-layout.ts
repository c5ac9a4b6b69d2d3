import * as tf from "@tensorflow/tfjs";

import type { NodeProto } from "@favor/onnx";

import type { DifferingSite } from "./differing-sites.ts";

/** Operators that only move or rename elements. */
const layoutOperators = new Set(["Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast"]);

/** How the graph turns a site's attention [batch, heads, queries, dim] into its output. */
export interface AttentionLayout {
  /** The value of shape [batch, heads, queries, dim]. */
  readonly canonical: string;
  /** The nodes from there to the output, in the order of data flow. */
  readonly steps: readonly NodeProto[];
}

export function layoutOf({ output, nodes }: DifferingSite): AttentionLayout {
  const producers = new Map(nodes.flatMap((node) => node.output.map((value) => [value, node] as const)));
  const steps: NodeProto[] = [];
  let canonical = output;
  for (
    let node = producers.get(output);
    node !== undefined && layoutOperators.has(node.opType);
    node = producers.get(canonical)
  ) {
    steps.unshift(node);
    canonical = node.input[0]!;
  }
  return { canonical, steps };
}

/**
 * Turns a value in the output's layout back into [batch, heads, queries, dim].
 *
 * @param shapeOf - gives the shapes of the values that the steps read and write.
 */
export function toCanonical(
  { steps }: AttentionLayout,
  value: tf.Tensor,
  shapeOf: (value: string) => readonly number[],
): tf.Tensor {
  return tf.tidy(() =>
    steps.reduceRight(
      (moved, node) =>
        node.opType === "Transpose"
          ? tf.transpose(moved, inverse(permutationOf(node, moved.rank)))
          : tf.reshape(moved, [...shapeOf(node.input[0]!)]),
      tf.clone(value),
    ),
  );
}

/** Without the attribute, axes are reversed. */
function permutationOf(node: NodeProto, rank: number): number[] {
  const given = node.attribute.find(({ name }) => name === "perm")?.ints.map((axis) => axis.toNumber());
  return given ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
}

function inverse(permutation: readonly number[]): number[] {
  const inverted: number[] = [];
  for (const [to, from] of permutation.entries()) inverted[from] = to;
  return inverted;
}
