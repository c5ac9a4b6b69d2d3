import type { GraphProto, NodeProto } from "@favor/onnx";

/** What an angle is computed from, up to here. */
interface Ancestry {
  readonly initializers: ReadonlySet<string>;
  readonly inputs: ReadonlySet<string>;
}

/**
 * Initializers that are the frequencies of rotary or sinusoidal positions: the only weight on the way to a Sin or Cos,
 * everything else being positions. They are not weights to train. The angles grow with the position, so they are computed on
 * the host: graphics devices are exact only for small angles.
 *
 * @param weights names of the initializers that could be variables
 * @param floats names of the float inputs of the graph
 */
export function frequencies(graph: GraphProto, weights: ReadonlySet<string>, floats: ReadonlySet<string>): Set<string> {
  const producers = new Map<string, NodeProto>();
  for (const node of graph.node) for (const output of node.output) producers.set(output, node);
  const found = new Set<string>();
  for (const node of graph.node) {
    if (node.opType !== "Sin" && node.opType !== "Cos") continue;
    const { initializers, inputs } = ancestry(node, producers, weights, floats);
    const [only] = initializers;
    if (initializers.size === 1 && inputs.size === 0 && only !== undefined) found.add(only);
  }
  return found;
}

/** Stops at the second weight, of which a hidden state has many. */
function ancestry(
  node: NodeProto,
  producers: ReadonlyMap<string, NodeProto>,
  weights: ReadonlySet<string>,
  floats: ReadonlySet<string>,
): Ancestry {
  const initializers = new Set<string>();
  const inputs = new Set<string>();
  const seen = new Set<NodeProto>([node]);
  for (const at of seen) {
    // Only the size of a value counts in its shape.
    if (at.opType === "Shape" || at.opType === "Size") continue;
    for (const name of at.input) {
      if (weights.has(name)) initializers.add(name);
      else if (floats.has(name)) inputs.add(name);
      const producer = producers.get(name);
      if (producer !== undefined) seen.add(producer);
    }
    if (initializers.size > 1 || inputs.size > 0) break;
  }
  return { initializers, inputs };
}
