import { DataType, type NodeProto } from "@favor/onnx";
import { EvaluationLimitError } from "@favor/onnx/evaluate";
import {
  bodies,
  probe,
  probePair,
  ShapeConflict,
  type Graph,
  type GraphProbe,
  type ProbeSizes,
} from "@favor/onnx/graph";

/** Bytes of an element, by ONNX data type; 1 for types that are not listed. */
const elementBytes: Readonly<Record<number, number>> = {
  [DataType.FLOAT]: 4,
  [DataType.INT32]: 4,
  [DataType.UINT32]: 4,
  [DataType.DOUBLE]: 8,
  [DataType.INT64]: 8,
  [DataType.UINT64]: 8,
  [DataType.FLOAT16]: 2,
  [DataType.BFLOAT16]: 2,
  [DataType.INT16]: 2,
  [DataType.UINT16]: 2,
};

/** A value that grows with the square of the length. */
export interface QuadraticValue {
  readonly value: string;
  readonly node: NodeProto;
}

/** The sizes of a graph's values at lengths at which it need not run: each dimension is a line through two probes. */
export class ValueSizes {
  readonly #graph: Graph;
  readonly #short: GraphProbe;
  readonly #long: GraphProbe;

  private constructor(graph: Graph, short: GraphProbe, long: GraphProbe) {
    this.#graph = graph;
    this.#short = short;
    this.#long = long;
  }

  /**
   * Probes a main graph with a batch of one, if it takes that.
   *
   * @param known sizes at which the graph runs, if they were found before; default: they are searched for
   * @returns undefined if it takes inputs of one length alone
   */
  static of(graph: Graph, known?: ProbeSizes): ValueSizes | undefined {
    const sizes = known ?? sizesOf(graph);
    if (sizes === undefined) return undefined;
    for (const batch of new Set([1, sizes.batch])) {
      const [short, long] = twoLengths(graph, { ...sizes, batch });
      if (short === undefined || long === undefined) continue;
      const isFree = graph.inputs.some(
        ({ name }) => long.info.get(name)?.dims.join() !== short.info.get(name)?.dims.join(),
      );
      return isFree ? new ValueSizes(graph, short, long) : undefined;
    }
    return undefined;
  }

  /** Bytes of a value at a length; 0 where its shape is unknown. */
  bytes(value: string, length: number): number {
    const [short, long] = [this.#short.info.get(value), this.#long.info.get(value)];
    if (short === undefined || short.dims.length !== long?.dims.length) return 0;
    const [from, to] = [this.#short.sizes.length, this.#long.sizes.length];
    const count = short.dims.reduce((product, dim, axis) => {
      const slope = (long.dims[axis]! - dim) / (to - from);
      return product * Math.max(0, Math.round(dim + slope * (length - from)));
    }, 1);
    return count * (elementBytes[short.dataType] ?? 1);
  }

  isQuadratic(value: string): boolean {
    const [near, far] = [this.bytes(value, 1 << 16), this.bytes(value, 1 << 17)];
    return far > 3 * near;
  }

  /** The graph's own values that grow with the square of the length, without those in bodies of its nodes. */
  quadratic(): QuadraticValue[] {
    return this.#graph.nodes.flatMap((node) =>
      bodies(node).length > 0
        ? []
        : node.output.flatMap((value) => (value !== "" && this.isQuadratic(value) ? [{ value, node }] : [])),
    );
  }
}

function sizesOf(graph: Graph): ProbeSizes | undefined {
  const pair = probePair(graph);
  return "conflict" in pair ? undefined : pair.first.sizes;
}

/** Short inputs are one block or one window, and grow as its square: longer ones say how a value grows, if the model takes them. */
function twoLengths(graph: Graph, sizes: ProbeSizes): readonly (GraphProbe | undefined)[] {
  for (const length of [1024, 256]) {
    const long = attempt(graph, { ...sizes, length: 2 * length });
    if (long !== undefined) return [attempt(graph, { ...sizes, length }), long];
  }
  return [attempt(graph, sizes), attempt(graph, { ...sizes, length: sizes.length + 8 })];
}

function attempt(graph: Graph, sizes: ProbeSizes): GraphProbe | undefined {
  try {
    return probe(graph, sizes);
  } catch (error) {
    if (error instanceof ShapeConflict || error instanceof EvaluationLimitError) return undefined;
    throw error;
  }
}

/** `148 MB` or `2.3 GB`, of 2^20 and 2^30 bytes. */
export function shownBytes(bytes: number): string {
  const [size, unit] = bytes < 2 ** 30 ? [bytes / 2 ** 20, "MB"] : [bytes / 2 ** 30, "GB"];
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${unit}`;
}
