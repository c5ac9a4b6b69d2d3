import type { Graph } from "./graph.ts";
import { makeNode, type AttributeValue } from "./node.ts";
import { DataType, type NodeProto, type TensorProto } from "../model/proto.ts";
import { makeTensor } from "../model/tensor.ts";

/**
 * Writes nodes in the model's own operator set, with axes as attributes or inputs according to its version. Values get
 * names that nothing else in the graph has, beginning with the builder's prefix.
 */
export class NodeBuilder {
  readonly graph: Graph;
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  readonly #prefix: string;
  readonly #constants: Map<string, string> = new Map();

  constructor(graph: Graph, prefix: string) {
    this.graph = graph;
    this.#prefix = prefix;
  }

  #name(stem: string): string {
    return this.graph.freshName(`${this.#prefix}/${stem}`);
  }

  /** Adds a node with one output and returns that output's name. */
  op(
    opType: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    options: { output?: string; domain?: string } = {},
  ): string {
    const output = options.output ?? this.#name(opType);
    this.nodes.push(makeNode(opType, inputs, [output], { name: output, attributes, ...domainOf(options.domain) }));
    return output;
  }

  /** Adds a node with several outputs. */
  ops(
    opType: string,
    inputs: readonly string[],
    outputs: number,
    attributes: Readonly<Record<string, AttributeValue>> = {},
    domain?: string,
  ): string[] {
    const names = Array.from({ length: outputs }, () => this.#name(opType));
    this.nodes.push(makeNode(opType, inputs, names, { name: names[0]!, attributes, ...domainOf(domain) }));
    return names;
  }

  /** A float32 initializer; values beyond its range are the caller's mistake. */
  floats(stem: string, dims: readonly number[], values: ArrayLike<number>): string {
    return this.tensor(makeTensor(this.#name(stem), dims, DataType.FLOAT, new Float32Array(values)));
  }

  scalar(value: number): string {
    return this.#shared(`f${value}`, () => this.floats("scalar", [], [value]));
  }

  integers(values: readonly number[]): string {
    return this.#shared(`i${values.join()}`, () =>
      this.tensor(makeTensor(this.#name("axes"), [values.length], DataType.INT64, BigInt64Array.from(values, BigInt))),
    );
  }

  integer(value: number): string {
    return this.#shared(`n${value}`, () =>
      this.tensor(makeTensor(this.#name("integer"), [], DataType.INT64, BigInt64Array.of(BigInt(value)))),
    );
  }

  tensor(tensor: TensorProto): string {
    this.initializers.push(tensor);
    return tensor.name;
  }

  #shared(key: string, make: () => string): string {
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = make();
    this.#constants.set(key, name);
    return name;
  }

  transpose(value: string, perm: readonly number[]): string {
    return perm.every((from, to) => from === to) ? value : this.op("Transpose", [value], { perm: { ints: [...perm] } });
  }

  unsqueeze(value: string, axes: readonly number[]): string {
    if (axes.length === 0) return value;
    return this.#withAxes("Unsqueeze", value, axes, 13);
  }

  squeeze(value: string, axes: readonly number[]): string {
    if (axes.length === 0) return value;
    return this.#withAxes("Squeeze", value, axes, 13);
  }

  reduceMax(value: string, axis: number): string {
    return this.#withAxes("ReduceMax", value, [axis], 18);
  }

  reduceSum(value: string, axis: number): string {
    return this.#withAxes("ReduceSum", value, [axis], 13);
  }

  #withAxes(opType: string, value: string, axes: readonly number[], inputSince: number): string {
    return this.graph.opset >= inputSince
      ? this.op(opType, [value, this.integers(axes)])
      : this.op(opType, [value], { axes: { ints: [...axes] } });
  }

  /** Softmax over the last axis of a tensor of rank 4. */
  softmax(value: string): string {
    // Before opset 13 the axes from `axis` on are flattened together; for the last axis that is the same.
    return this.op("Softmax", [value], { axis: { int: this.graph.opset >= 11 ? -1 : 3 } });
  }

  cast(value: string, to: number, output?: string): string {
    return this.op("Cast", [value], { to: { int: to } }, output === undefined ? {} : { output });
  }

  /** value[..., start:end, ...] along one axis. */
  slice(value: string, axis: number, start: number, end: number): string {
    return this.graph.opset >= 10
      ? this.op("Slice", [value, this.integers([start]), this.integers([end]), this.integers([axis])])
      : this.op("Slice", [value], { starts: { ints: [start] }, ends: { ints: [end] }, axes: { ints: [axis] } });
  }

  /** The integers 0, 1, ... below a list of one integer, int64. */
  range(count: string): string {
    if (this.graph.opset >= 11) return this.op("Range", [this.integer(0), this.squeeze(count, [0]), this.integer(1)]);
    // Range came with opset 11. The positions of what is not zero, [1, count]:
    const ones = this.op("Expand", [this.scalar(1), count]);
    return this.squeeze(this.op("NonZero", [ones]), [0]);
  }

  /** The larger (Max) or smaller (Min) of int64 values below 2^24, such as lengths. */
  extreme(opType: "Max" | "Min", values: readonly string[]): string {
    if (this.graph.opset >= 12) return this.op(opType, values);
    // Before opset 12, Max and Min take only floats.
    return this.cast(
      this.op(
        opType,
        values.map((value) => this.cast(value, DataType.FLOAT)),
      ),
      DataType.INT64,
    );
  }

  concat(values: readonly string[], axis: number): string {
    return this.op("Concat", values, { axis: { int: axis } });
  }

  /** One dimension of a value, as a list of one integer. */
  dimension(value: string, axis: number): string {
    return this.slice(this.op("Shape", [value]), 0, axis, axis + 1);
  }

  /** Adds the nodes and initializers built so far to the graph. */
  commit(): void {
    this.graph.add(this.nodes, this.initializers);
    this.nodes.length = 0;
    this.initializers.length = 0;
  }
}

const domainOf = (domain: string | undefined): { domain?: string } => (domain === undefined ? {} : { domain });
