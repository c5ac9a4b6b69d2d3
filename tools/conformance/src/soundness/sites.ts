import type { NodeProto } from "@favor/onnx";
import type { Bench } from "./bench.ts";

/** Where a softmax stands between two products, found by walking the graph alone. */
export interface Site {
  readonly softmax: NodeProto;
  /** The product of queries and keys, and which of its inputs is on the way to nothing else. */
  readonly logits: NodeProto;
  readonly output: NodeProto;
  /** Which input of `output` the probabilities are. */
  readonly probabilitiesAt: number;
  /** From the product's output to the softmax's input. */
  readonly before: readonly string[];
  /** From the softmax's output to the output product. */
  readonly after: readonly string[];
}

const products = new Set(["MatMul", "FusedMatMul", "Einsum", "Gemm"]);
const sizeOf = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** The sites of the main graph; attention in bodies, functions and fused operators is not among them. */
export function findSites(bench: Bench): Site[] {
  return bench.graph.node
    .filter(({ opType }) => opType === "Softmax")
    .flatMap((softmax) => {
      const size = sizeOf(bench.dims(softmax.input[0]!));
      const before = walk(softmax.input[0]!, (value) => {
        const node = bench.producer(value);
        if (node === undefined || products.has(node.opType)) return { end: node };
        return { next: node.input.filter((input) => sizeOf(bench.dims(input)) === size && !bench.isConstant(input)) };
      });
      const after = walk(softmax.output[0]!, (value) => {
        const readers = bench.consumers(value);
        const end = readers.find(({ opType }) => products.has(opType));
        if (end !== undefined) return { end };
        const made = readers.flatMap(({ output }) => output);
        return { next: made.filter((name) => sizeOf(bench.dims(name)) === size) };
      });
      if (before === undefined || after === undefined || size < 4) return [];
      const probabilitiesAt = after.end.input.indexOf(after.way.at(-1)!);
      return [
        {
          softmax,
          logits: before.end,
          output: after.end,
          probabilitiesAt,
          before: before.way.toReversed(),
          after: after.way,
        },
      ];
    });
}

/** Follows values from `start` to a node that ends the way. */
function walk(
  start: string,
  step: (value: string) => { end?: NodeProto | undefined; next?: readonly string[] },
): { end: NodeProto; way: string[] } | undefined {
  const seen = new Set([start]);
  const pending: string[][] = [[start]];
  for (let way = pending.shift(); way !== undefined; way = pending.shift()) {
    const { end, next = [] } = step(way.at(-1)!);
    if (end !== undefined) return { end, way };
    for (const value of next) {
      if (seen.has(value) || way.length > 40) continue;
      seen.add(value);
      pending.push([...way, value]);
    }
  }
  return undefined;
}

/** The nodes that make what a site computes: up to `depth` steps above its products and its masks, and itself. */
export function neighbourhood(bench: Bench, site: Site, depth: number): NodeProto[] {
  const made = new Map(bench.graph.node.flatMap((node) => node.output.map((value) => [value, node] as const)));
  const found = new Set<NodeProto>([site.output]);
  let frontier = [site.output];
  for (let step = 0; step < depth + site.before.length + site.after.length; step++) {
    const next: NodeProto[] = [];
    for (const value of frontier.flatMap((node) => node.input)) {
      const node = made.get(value);
      if (node === undefined || found.has(node) || node.opType === "Constant") continue;
      found.add(node);
      next.push(node);
    }
    frontier = next;
  }
  return [...found];
}
