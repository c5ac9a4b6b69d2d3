import { createHash } from "node:crypto";

import { encodeMessage, tensorStrings, tensorValues } from "@favor/onnx";
import type { NodeProto, TensorProto } from "@favor/onnx";

import { valuesRead } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";

/** Bytes of a weight to read at a time. */
const pieceBytes = 1 << 20;

/**
 * Global value numbering over two models. Two values have the same number only if they are equal for all inputs: they are
 * the same graph input, initializers with the same bytes, or outputs of equal nodes (operator and attributes) whose
 * inputs have the same numbers. Names of values and nodes do not matter; those of graph inputs do.
 */
export class ValueNumbers {
  readonly #numbers = new Map<string, number>();
  /** Digests of tensors, which are hashed only once. */
  readonly #digests = new WeakMap<TensorProto, string>();

  /**
   * Numbers the values of a graph, by name.
   *
   * @param give - may replace the number of a node's output.
   */
  of(
    graph: Graph,
    give: (output: string, node: NodeProto, number: number) => number = (_output, _node, number) => number,
  ): Map<string, number> {
    const numbers = new Map<string, number>();
    for (const { name } of graph.proto.input) numbers.set(name, this.#number(["input", name]));
    for (const tensor of graph.proto.initializer) {
      numbers.set(tensor.name, this.#number(["tensor", this.#digest(tensor)]));
    }
    for (const node of graph.nodes) {
      // A value of unknown origin (a sparse initializer) equals nothing, not even itself in the other graph.
      const signature = signatureOf(node, (value) => numbers.get(value) ?? this.#number([this.#numbers.size]));
      for (const [at, output] of node.output.entries()) {
        if (output !== "") numbers.set(output, give(output, node, this.#number([...signature, at])));
      }
    }
    return numbers;
  }

  #number(signature: readonly unknown[]): number {
    const key = JSON.stringify(signature);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.#numbers.size);
    return this.#numbers.size - 1;
  }

  #digest(tensor: TensorProto): string {
    const known = this.#digests.get(tensor);
    if (known !== undefined) return known;
    const digest = digestOf(tensor);
    this.#digests.set(tensor, digest);
    return digest;
  }
}

/** A node's computation, in terms of the numbers of its inputs. */
function signatureOf(node: NodeProto, numberOf: (value: string) => number): unknown[] {
  const inputs = node.input.map((value) => (value === "" ? -1 : numberOf(value)));
  const captured = [...valuesRead(node)].map((value) => (node.input.includes(value) ? 0 : [value, numberOf(value)]));
  return [...operatorOf(node), inputs, captured];
}

/** Operator and attributes of a node. */
export function operatorOf(node: NodeProto): string[] {
  const attributes = node.attribute
    .map((attribute) => encodeMessage("AttributeProto", { ...attribute, docString: "" }))
    .map((bytes) => createHash("sha256").update(bytes).digest("base64"));
  return [node.domain === "ai.onnx" ? "" : node.domain, node.opType, node.overload, ...attributes.toSorted()];
}

function digestOf(tensor: TensorProto): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([tensor.dataType, tensor.dims.map(String)]));
  const range = tensor.source?.range;
  if (range !== undefined) {
    for (let offset = 0; offset < range.length; offset += pieceBytes) {
      const piece = new Uint8Array(Math.min(pieceBytes, range.length - offset));
      range.readInto(piece, offset);
      hash.update(piece);
    }
  } else if (tensor.stringData.length > 0) {
    hash.update(JSON.stringify(tensorStrings(tensor).data));
  } else {
    // Not the bytes of the field: one file may use `float_data` and the other raw data.
    const { data } = tensorValues(tensor);
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("base64");
}
