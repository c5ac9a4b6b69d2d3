import type { Graph } from "@favor/onnx/graph";
import { bodies, describeNode, nestedGraphs } from "@favor/onnx/graph";
import { isFloat, isSupportedType } from "@favor/onnx/evaluate";
import type { TensorProto } from "@favor/onnx";

const lookUps = new Set(["Gather", "GatherElements", "Slice", "EmbedLayerNormalization"]);

/**
 * The If, Loop and Scan nodes whose bodies look up rows of a stored table. How far these reach is not determined.
 *
 * @returns one description per node, naming at most four tables
 */
export function tablesInBodies(graph: Graph): string[] {
  return graph.nodes.flatMap((node) => {
    const stored = new Map<string, TensorProto>();
    const tables = new Set<string>();
    for (const body of nestedGraphs(bodies(node))) {
      for (const tensor of body.initializer) stored.set(tensor.name, tensor);
      for (const inner of body.node) {
        const slot = inner.opType === "EmbedLayerNormalization" ? 3 : 0;
        const name = inner.input[slot] ?? "";
        const table = stored.get(name) ?? graph.constantProto(name);
        if (lookUps.has(inner.opType) && table !== undefined && isTable(table)) {
          tables.add(`"${name}"`);
        }
      }
    }
    if (tables.size === 0) return [];
    return [`${describeNode(node)}, which reads ${[...tables].slice(0, 4).join(", ")} inside`];
  });
}

/** Rows of floats; shapes and axes are integers. */
function isTable({ dims, dataType }: TensorProto): boolean {
  return dims.length > 1 && isSupportedType(dataType) && isFloat(dataType);
}
