import type { GraphProto } from "@favor/onnx";
import { bodies } from "@favor/onnx/graph";

/** A place where a node reads an initializer. */
export interface Consumer {
  /** As in the file: "MatMul". */
  readonly opType: string;
  /** "" for the standard domain. */
  readonly domain: string;
  /** Of PyTorch's exporter, the path of the module: "/encoder/layer.0/attention/self/query/MatMul". May be "". */
  readonly nodeName: string;
  /** Which of the node's inputs it is, from 0. */
  readonly inputIndex: number;
}

/** Where each value is read, in the order of the nodes; nodes in the bodies of If, Loop and Scan included. */
export function consumersOf(main: GraphProto): ReadonlyMap<string, readonly Consumer[]> {
  const found = new Map<string, Consumer[]>();
  const graphs = [main];
  // The list grows while it is walked.
  for (const graph of graphs) {
    for (const node of graph.node) {
      graphs.push(...bodies(node));
      const { opType, name: nodeName } = node;
      const domain = node.domain === "ai.onnx" ? "" : node.domain;
      for (const [inputIndex, name] of node.input.entries()) {
        const consumers = found.get(name) ?? [];
        consumers.push({ opType, domain, nodeName, inputIndex });
        found.set(name, consumers);
      }
    }
  }
  return found;
}
