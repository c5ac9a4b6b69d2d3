import { GraphError } from "./errors.ts";
import type { NodeProto } from "../model/proto.ts";
import { bodies, valuesRead } from "../model/walk.ts";
import { describeNode } from "../semantics/node-call.ts";

/**
 * Nodes in an order in which every value is made before it is read. Nodes that are ready at the same time keep the given
 * order, so a sorted list comes back as it is.
 *
 * @throws GraphError "cyclic-graph" if there is none
 */
export function topologicalOrder(nodes: readonly NodeProto[]): NodeProto[] {
  const producer = new Map<string, number>();
  nodes.forEach((node, index) => {
    for (const output of node.output) if (output !== "") producer.set(output, index);
  });
  if (isSorted(nodes, producer)) return [...nodes];
  const missing = new Int32Array(nodes.length);
  const readers: number[][] = nodes.map(() => []);
  nodes.forEach((node, index) => {
    const producers = new Set<number>();
    for (const value of valuesRead(node)) {
      const made = producer.get(value);
      if (made !== undefined) producers.add(made);
    }
    missing[index] = producers.size;
    for (const made of producers) readers[made]!.push(index);
  });
  const order: NodeProto[] = [];
  const ready = new IndexHeap();
  for (let i = 0; i < nodes.length; i++) if (missing[i] === 0) ready.push(i);
  for (let index = ready.pop(); index !== undefined; index = ready.pop()) {
    order.push(nodes[index]!);
    for (const reader of readers[index]!) if (--missing[reader]! === 0) ready.push(reader);
  }
  if (order.length < nodes.length) {
    const stuck = nodes.find((_, index) => missing[index]! > 0)!;
    throw new GraphError(
      "cyclic-graph",
      `The graph has a cycle: ${describeNode(stuck)} needs a value that depends on its own output. ` +
        "Export the model again, or check it with onnx.checker.",
      { node: stuck.name },
    );
  }
  return order;
}

/** Whether no node reads what it or a later one makes, as in nearly every file. */
function isSorted(nodes: readonly NodeProto[], producer: ReadonlyMap<string, number>): boolean {
  return nodes.every((node, index) => {
    const isMade = (value: string): boolean => !((producer.get(value) ?? -1) >= index);
    return bodies(node).length === 0 ? node.input.every(isMade) : [...valuesRead(node)].every(isMade);
  });
}

/** A binary min-heap of node indices. */
class IndexHeap {
  readonly #items: number[] = [];

  push(index: number): void {
    const items = this.#items;
    let at = items.push(index) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! <= index) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = index;
  }

  pop(): number | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= last) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return first;
  }
}
