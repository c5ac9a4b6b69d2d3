import Long from "long";
import {
  AttributeType,
  createMessage,
  DataType,
  type ByteRange,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from "@favor/onnx";

/** Sizes of an encoder that is all weights. */
export interface EncoderSize {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly vocabulary: number;
}

/** Where a weight of so many bytes is. */
export type PlaceWeight = (bytes: number) => Partial<TensorProto>;

/** Float32 numbers near 0.01, without an end: what they are does not matter, only that they are no zeros. */
export function noise(length: number): ByteRange {
  const block = new Uint8Array(1 << 16);
  for (let index = 0, state = 1; index < block.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // The highest byte of each number: sign and exponent.
    block[index] = index % 4 === 3 ? 0x3c : state >>> 24;
  }
  const readInto = (target: Uint8Array, offset: number): void => {
    for (let done = 0; done < target.length;) {
      const from = (offset + done) % block.length;
      const part = block.subarray(from, from + target.length - done);
      target.set(part, done);
      done += part.length;
    }
  };
  return { length, readInto };
}

/** A BERT-like encoder of opset 17 with a padding mask, as PyTorch exports it. */
export function encoder(size: EncoderSize, place: PlaceWeight): ModelProto {
  const graph = new Writer(place);
  const { hidden, heads } = size;
  const mask = graph.op("Unsqueeze", [
    graph.op("Cast", ["attention_mask"], { to: DataType.FLOAT }),
    graph.list([1, 2]),
  ]);
  const bias = graph.op("Mul", [graph.op("Sub", [graph.scalar(1), mask]), graph.scalar(-1e4)]);
  let x = graph.op("Gather", [graph.weight("embeddings", [size.vocabulary, hidden]), "input_ids"]);
  for (let layer = 0; layer < size.layers; layer++) {
    const linear = (input: string, name: string, from: number, to: number): string => {
      const product = graph.op("MatMul", [input, graph.weight(`layer.${layer}.${name}.weight`, [from, to])]);
      return graph.op("Add", [product, graph.weight(`layer.${layer}.${name}.bias`, [to])]);
    };
    const split = (input: string, perm: number[]): string =>
      graph.op("Transpose", [graph.op("Reshape", [input, graph.list([0, 0, heads, hidden / heads])])], { perm });
    const normalise = (input: string, name: string): string =>
      graph.op("LayerNormalization", [
        input,
        ...["scale", "bias"].map((part) => graph.weight(`layer.${layer}.${name}.${part}`, [hidden])),
      ]);
    const query = split(linear(x, "query", hidden, hidden), [0, 2, 1, 3]);
    const key = split(linear(x, "key", hidden, hidden), [0, 2, 3, 1]);
    const value = split(linear(x, "value", hidden, hidden), [0, 2, 1, 3]);
    const scaled = graph.op("Div", [graph.op("MatMul", [query, key]), graph.scalar(Math.sqrt(hidden / heads))]);
    const probabilities = graph.op("Softmax", [graph.op("Add", [scaled, bias])], { axis: -1 });
    const merged = graph.op("Transpose", [graph.op("MatMul", [probabilities, value])], { perm: [0, 2, 1, 3] });
    const joined = graph.op("Reshape", [merged, graph.list([0, 0, hidden])]);
    x = normalise(graph.op("Add", [x, linear(joined, "output", hidden, hidden)]), "norm1");
    const wide = linear(x, "intermediate", hidden, 4 * hidden);
    const erf = graph.op("Erf", [graph.op("Div", [wide, graph.scalar(Math.SQRT2)])]);
    const gelu = graph.op("Mul", [graph.op("Mul", [wide, graph.op("Add", [erf, graph.scalar(1)])]), graph.scalar(0.5)]);
    x = normalise(graph.op("Add", [x, linear(gelu, "dense", 4 * hidden, hidden)]), "norm2");
  }
  graph.node.push(createMessage("NodeProto", { opType: "Identity", input: [x], output: ["last_hidden_state"] }));
  const ids = ["input_ids", "attention_mask"].map((name) => info(name, DataType.INT64, ["batch", "length"]));
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(8),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(17) })],
    graph: createMessage("GraphProto", {
      name: "encoder",
      node: graph.node,
      initializer: graph.initializer,
      input: ids,
      output: [info("last_hidden_state", DataType.FLOAT, ["batch", "length", hidden])],
    }),
  });
}

class Writer {
  readonly node: NodeProto[] = [];
  readonly initializer: TensorProto[] = [];
  readonly #place: PlaceWeight;

  constructor(place: PlaceWeight) {
    this.#place = place;
  }

  op(opType: string, input: string[], attributes: Readonly<Record<string, number | number[]>> = {}): string {
    const output = `${opType}_${this.node.length}`;
    const attribute = Object.entries(attributes).map(([name, value]) =>
      typeof value === "number"
        ? createMessage("AttributeProto", { name, type: AttributeType.INT, i: Long.fromNumber(value) })
        : createMessage("AttributeProto", {
            name,
            type: AttributeType.INTS,
            ints: value.map((i) => Long.fromNumber(i)),
          }),
    );
    this.node.push(createMessage("NodeProto", { opType, name: output, input, output: [output], attribute }));
    return output;
  }

  weight(name: string, dims: number[]): string {
    return this.#add(name, DataType.FLOAT, dims, this.#place(4 * dims.reduce((product, dim) => product * dim, 1)));
  }

  scalar(value: number): string {
    return this.#add(`constant_${this.initializer.length}`, DataType.FLOAT, [], { floatData: [value] });
  }

  list(values: number[]): string {
    const int64Data = values.map((value) => Long.fromNumber(value));
    return this.#add(`constant_${this.initializer.length}`, DataType.INT64, [values.length], { int64Data });
  }

  #add(name: string, dataType: number, dims: number[], data: Partial<TensorProto>): string {
    const shape = dims.map((dim) => Long.fromNumber(dim));
    this.initializer.push(createMessage("TensorProto", { name, dataType, dims: shape, ...data }));
    return name;
  }
}

function info(name: string, elemType: number, dims: readonly (string | number)[]): ValueInfoProto {
  const dim = dims.map((size) =>
    createMessage(
      "DimensionProto",
      typeof size === "number" ? { dimValue: Long.fromNumber(size) } : { dimParam: size },
    ),
  );
  const tensorType = createMessage("TensorTypeProto", { elemType, shape: createMessage("TensorShapeProto", { dim }) });
  return createMessage("ValueInfoProto", { name, type: createMessage("TypeProto", { tensorType }) });
}
