import { DataType, type NodeProto } from "@favor/onnx";
import {
  decodeTensor,
  elementCount,
  evaluateGraph,
  evaluateNode,
  makeData,
  tensorOf,
  type Tensor,
} from "@favor/onnx/evaluate";
import { ancestors, valuesRead, type Graph, type GraphProbe } from "@favor/onnx/graph";
import { finite } from "./region-evaluation.ts";
import { sampledOperators, whole, type Kept, type SampledCall } from "./sampled-operators.ts";

export type { Kept } from "./sampled-operators.ts";

/** A value of more elements is not computed whole. */
const largestWhole = 2 ** 22;

/** Operators one behind the other that are followed: each asks the one before it, and the stack has an end. */
const mostDepth = 500;

/** A value that would have to be computed whole, and is too large for that, or made of what is given in part. */
export class TooLargeToSample extends Error {}

/**
 * Evaluates a few rows of a mask without the rest of it. A value is asked for with the positions of some of its axes
 * that are wanted, and its operator asks its own inputs for what these positions are made of. What mixes positions along
 * such an axis (a cumulative sum, a scatter, a body of If) is computed whole, if that is small enough.
 */
export class SampledEvaluation {
  readonly #graph: Graph;
  readonly #probe: GraphProbe;
  readonly #feeds: ReadonlyMap<string, Tensor>;
  readonly #spent: { operations: number; readonly most: number };
  /** Values that are given at some positions, and whole nowhere. */
  readonly #given = new Set<string>();
  readonly #known = new Map<string, Tensor>();
  readonly #positions = new Map<readonly number[], number>();
  #depth = 0;

  /**
   * @param feeds inputs of the model, whole
   * @param spent operations so far, and how many there may be
   */
  constructor(
    graph: Graph,
    probe: GraphProbe,
    feeds: ReadonlyMap<string, Tensor>,
    spent: { operations: number; readonly most: number },
  ) {
    this.#graph = graph;
    this.#probe = probe;
    this.#feeds = feeds;
    this.#spent = spent;
  }

  /** Sets a value at some of its positions: it is not computed when these are asked for. */
  give(value: string, kept: Kept, tensor: Tensor): void {
    this.#given.add(value);
    this.#known.set(this.#key(value, kept), tensor);
  }

  /** A value, all of it. */
  whole(value: string): Tensor {
    return this.at(value, whole);
  }

  /**
   * A value at these positions.
   *
   * @throws TooLargeToSample; what `evaluateGraph` throws
   */
  at(value: string, wanted: Kept): Tensor {
    const shape = this.#probe.info.get(value);
    const kept =
      shape === undefined ? wanted : new Map([...wanted].filter(([axis]) => axis >= 0 && shape.dims[axis] !== 1));
    const key = this.#key(value, kept);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#depth === mostDepth) throw new TooLargeToSample(value);
    this.#depth++;
    try {
      const made = this.#stored(value, kept) ?? this.#made(value, kept);
      this.#known.set(key, made);
      return made;
    } finally {
      this.#depth--;
    }
  }

  #key(value: string, kept: Kept): string {
    const axes = [...kept]
      .toSorted(([a], [b]) => a - b)
      .map(([axis, positions]) => {
        const number = this.#positions.get(positions) ?? this.#positions.size;
        this.#positions.set(positions, number);
        return `${axis}:${number}`;
      });
    return `${axes.join()} ${value}`;
  }

  /** Inputs, constants, and what follows from shapes alone. */
  #stored(value: string, kept: Kept): Tensor | undefined {
    const found = this.#feeds.get(value) ?? this.#probe.info.get(value)?.value ?? this.#constant(value);
    return found && take(finite(found), kept);
  }

  #constant(value: string): Tensor | undefined {
    const proto = this.#graph.constantProto(value);
    return proto && decodeTensor(proto);
  }

  #made(value: string, kept: Kept): Tensor {
    const node = this.#graph.owner(value)?.producer(value);
    if (node === undefined || kept.size === 0) return this.#whole(value);
    const rule = sampledOperators[node.opType];
    const sampled = node.output[0] === value ? rule?.(this.#call(node, value, kept)) : undefined;
    return sampled ?? take(this.at(value, whole), kept);
  }

  #whole(value: string): Tensor {
    const dims = this.#probe.info.get(value)?.dims;
    if (dims === undefined || elementCount(dims) > largestWhole) throw new TooLargeToSample(value);
    const known = new Map(this.#feeds);
    const nodes = ancestors(this.#graph, [value], (name) => {
      if (this.#given.has(name)) {
        const given = this.#known.get(this.#key(name, whole));
        if (given === undefined) throw new TooLargeToSample(value);
        known.set(name, given);
        return true;
      }
      return this.#probe.info.get(name)?.value !== undefined;
    });
    for (const node of nodes) {
      const like = node.opType === "CastLike" ? (node.input[1] ?? "") : "";
      if (like !== "" && !known.has(like)) known.set(like, this.#emptyOf(like));
      for (const input of valuesRead(node)) {
        const constant = this.#probe.info.get(input)?.value;
        if (constant !== undefined && !known.has(input)) known.set(input, finite(constant));
      }
    }
    const made = evaluateGraph(nodes, [value], known, {
      ...this.#options(),
      initializer: (name) => this.#graph.initializer(name),
      unknownIntegers: "returned",
    });
    return made.get(value)!;
  }

  /** No elements of a value's type, where nothing but the type is read. */
  #emptyOf(value: string): Tensor {
    return tensorOf(this.#probe.info.get(value)?.dataType ?? DataType.FLOAT, [0], []);
  }

  #options(): Pick<Parameters<typeof evaluateNode>[2], "opsets" | "limits" | "spent"> {
    return { opsets: this.#graph.opsets, limits: { operations: this.#spent.most }, spent: this.#spent };
  }

  #call(node: NodeProto, value: string, kept: Kept): SampledCall {
    const dimsOf = (name: string): readonly number[] | undefined => this.#probe.info.get(name)?.dims;
    return {
      node,
      kept,
      opset: this.#graph.opset,
      dims: dimsOf(value) ?? [],
      dimsOf,
      emptyOf: (name) => this.#emptyOf(name),
      input: (index, part) => this.at(node.input[index]!, part),
      run: (inputs) => evaluateNode(node, inputs, this.#options())[0]!,
    };
  }
}

/** The kept positions of a whole tensor. */
function take(tensor: Tensor, kept: Kept): Tensor {
  let made = tensor;
  for (const [axis, positions] of kept) {
    if (made.dims[axis] === 1 || axis >= made.dims.length) continue;
    const { dims, dataType, data } = made;
    const inner = elementCount(dims.slice(axis + 1));
    const outer = elementCount(dims.slice(0, axis));
    const out = makeData(dataType, outer * positions.length * inner);
    let to = 0;
    for (let o = 0; o < outer; o++) {
      for (const position of positions) {
        const from = (o * dims[axis]! + position) * inner;
        for (let i = 0; i < inner; i++) out[to++] = data[from + i]!;
      }
    }
    made = { dims: dims.map((dim, at) => (at === axis ? positions.length : dim)), dataType, data: out };
  }
  return made;
}
