import { FavorError } from "@favor/core";
import { contentOperators } from "@favor/onnx/semantics";
import { ancestors, reachable } from "@favor/onnx/graph";
import { evaluateGraph } from "@favor/onnx/evaluate";
import { stridesOf } from "@favor/onnx/evaluate";
import { elementCount, isInteger, isSupportedType, tensorOf, type Tensor } from "@favor/onnx/evaluate";
import type { Graph } from "@favor/onnx/graph";
import type { Probe } from "@favor/onnx/graph";

/** An index that depends on activations is no position, and is not worth computing; neither is one that is routed. */
const computing: ReadonlySet<string> = new Set(["Softmax", "TopK", ...contentOperators]);

const limits = { elements: 1 << 24, operations: 1 << 27 };

/**
 * Evaluates what a graph looks tables up with, at the sizes of one probe, for an input without padding: every token
 * is the same, so that whatever counts along the input is a position.
 */
export class IndexEvaluation {
  readonly probe: Probe;
  readonly #graph: Graph;
  readonly #feeds: readonly ReadonlyMap<string, Tensor>[];

  constructor(graph: Graph, probe: Probe) {
    this.probe = probe;
    this.#graph = graph;
    // Two guesses at "no padding": a token that nothing is compared with, and 1, which is what a mask says of a token.
    const token = (input: string): number => smallestUncompared(graph, input);
    this.#feeds = [feedsOf(graph, probe, token), feedsOf(graph, probe, () => 1)];
  }

  /** The possible values of an index, one for each guess; none if it cannot be told without computing activations. */
  values(index: string): Tensor[] {
    const known = this.probe.info.get(index)?.value;
    if (known !== undefined) return [known];
    const nodes = ancestors(this.#graph, [index], (value) => this.probe.info.get(value)?.value !== undefined);
    if ([...nodes].some((node) => computing.has(node.opType))) return [];
    const shapes = new Map<string, Tensor>();
    for (const value of [index, ...[...nodes].flatMap((node) => node.input)]) {
      const constant = this.probe.info.get(value)?.value;
      if (constant !== undefined) shapes.set(value, constant);
    }
    return this.#feeds.flatMap((feeds) => {
      try {
        const made = evaluateGraph(nodes, [index], new Map([...feeds, ...shapes]), {
          opsets: this.#graph.opsets,
          initializer: (name) => this.#graph.initializer(name),
          limits,
        });
        return [made.get(index)!];
      } catch (error) {
        if (FavorError.isInstance(error)) return [];
        throw error;
      }
    });
  }
}

function feedsOf(graph: Graph, probe: Probe, token: (input: string) => number): Map<string, Tensor> {
  const feeds = new Map<string, Tensor>();
  for (const { name } of graph.inputs) {
    const info = probe.info.get(name);
    if (info === undefined || !isSupportedType(info.dataType)) continue;
    const { dims, dataType } = info;
    const length = dims.at(-1) ?? 1;
    const value = token(name);
    // The one input whose name is a convention of all exporters: it is given by the caller and counts.
    const counts = /position_?ids?$/i.test(name) && isInteger(dataType);
    const fill = Float64Array.from({ length: elementCount(dims) }, (_, i) => (counts ? i % length : value));
    feeds.set(name, tensorOf(dataType, dims, fill));
  }
  return feeds;
}

/** The smallest positive integer that an input is not compared with: not the padding token. */
function smallestUncompared(graph: Graph, input: string): number {
  const compared = new Set<number>();
  const next = (value: string): string[] =>
    graph.consumers(value).flatMap(({ opType, output }) => (opType === "Cast" || opType === "Identity" ? output : []));
  for (const value of reachable([input], next)) {
    for (const node of graph.consumers(value)) {
      if (node.opType !== "Equal") continue;
      for (const other of node.input) for (const constant of graph.constant(other)?.data ?? []) compared.add(constant);
    }
  }
  let token = 1;
  while (compared.has(token)) token++;
  return token;
}

/** An index that counts `offset, offset + 1, ...` along one axis and is the same along all others. */
export interface Counting {
  readonly axis: number;
  readonly offset: number;
  readonly count: number;
}

/** How an index counts; undefined if it does not, or counts from below zero. */
export function countingOf(index: Tensor): Counting | undefined {
  const { dims, data } = index;
  const offset = data[0];
  if (offset === undefined || offset < 0) return undefined;
  const strides = stridesOf(dims);
  for (const [axis, count] of dims.entries()) {
    if (count < 2) continue;
    const stride = strides[axis]!;
    if (data.every((value, i) => value === offset + (Math.floor(i / stride) % count))) return { axis, offset, count };
  }
  return undefined;
}
