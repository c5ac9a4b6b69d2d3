import Long from "long";
import { makeNode, type AttributeValue } from "@favor/onnx/graph";
import { DataType } from "@favor/onnx";
import type { GraphProto, NodeProto, TensorProto, ValueInfoProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { makeTensor } from "@favor/onnx";

/** Writes the nodes of a new graph in opset 17. Values are named after their module. */
export class GraphWriter {
  readonly #nodes: NodeProto[] = [];
  readonly #initializers = new Map<string, TensorProto>();
  readonly #inputs: ValueInfoProto[] = [];
  readonly #counts = new Map<string, number>();
  readonly #scope: string[] = [];

  /** Names what `write` adds after the module `name`, inside the current module. */
  within<T>(name: string, write: () => T): T {
    this.#scope.push(name);
    const result = write();
    this.#scope.pop();
    return result;
  }

  /** An int64 input [batch_size, sequence_length]. */
  tokenInput(name: string): string {
    this.#inputs.push(valueInfo(name, DataType.INT64, ["batch_size", "sequence_length"]));
    return name;
  }

  hasInput(name: string): boolean {
    return this.#inputs.some((input) => input.name === name);
  }

  /** Adds a node with one output, and returns the output's name. */
  op(opType: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {}): string {
    return this.ops(opType, inputs, 1, attributes)[0]!;
  }

  /** Adds a node with several outputs. */
  ops(
    opType: string,
    inputs: readonly string[],
    count: number,
    attributes: Readonly<Record<string, AttributeValue>> = {},
  ): string[] {
    const name = this.#fresh(opType);
    const outputs = Array.from({ length: count }, (_, index) => `${name}_output_${index}`);
    this.#nodes.push(makeNode(opType, inputs, outputs, { name, attributes }));
    return outputs;
  }

  /** Adds an initializer, once for each name. */
  initializer(tensor: TensorProto): string {
    if (!this.#initializers.has(tensor.name)) this.#initializers.set(tensor.name, tensor);
    return tensor.name;
  }

  /** A float32 scalar. */
  scalar(value: number): string {
    return this.#constant(`scalar_${value}`, [], DataType.FLOAT, Float32Array.of(value));
  }

  /** A float32 vector. */
  vector(name: string, values: Float32Array): string {
    return this.#constant(name, [values.length], DataType.FLOAT, values);
  }

  /** An int64 scalar. */
  integer(value: number): string {
    return this.#constant(`integer_${value}`, [], DataType.INT64, BigInt64Array.of(BigInt(value)));
  }

  /** An int64 vector: axes, shapes. */
  integers(...values: number[]): string {
    const name = `integers_${values.join("_")}`;
    return this.#constant(name, [values.length], DataType.INT64, BigInt64Array.from(values, BigInt));
  }

  #constant(name: string, dims: number[], dataType: number, data: Float32Array | BigInt64Array): string {
    return this.initializer(makeTensor(name, dims, dataType, data));
  }

  /** Makes a value the output of the graph, [batch_size, ...dims] in float32, and returns the graph. */
  finish(value: string, output: string, dims: readonly (number | string)[]): GraphProto {
    this.#nodes.push(makeNode("Identity", [value], [output], { name: `/${output}` }));
    return createMessage("GraphProto", {
      name: "main_graph",
      node: this.#nodes,
      initializer: [...this.#initializers.values()],
      input: this.#inputs,
      output: [valueInfo(output, DataType.FLOAT, ["batch_size", ...dims])],
    });
  }

  #fresh(opType: string): string {
    const name = `/${[...this.#scope, opType].join("/")}`;
    const count = this.#counts.get(name) ?? 0;
    this.#counts.set(name, count + 1);
    return count === 0 ? name : `${name}_${count}`;
  }
}

function valueInfo(name: string, elemType: number, dims: readonly (number | string)[]): ValueInfoProto {
  const dim = dims.map((size) =>
    createMessage(
      "DimensionProto",
      typeof size === "string" ? { dimParam: size } : { dimValue: Long.fromNumber(size) },
    ),
  );
  const shape = createMessage("TensorShapeProto", { dim });
  return createMessage("ValueInfoProto", {
    name,
    type: createMessage("TypeProto", { tensorType: createMessage("TensorTypeProto", { elemType, shape }) }),
  });
}
