import type { Tensor } from "../evaluate/tensor.ts";
import type { NodeProto } from "../model/proto.ts";
import { intsAttribute } from "./node.ts";

/** What is known of a value when the model's inputs have concrete shapes. */
export interface ShapeInfo {
  readonly dims: readonly number[];
  readonly dataType: number;
  /** Present where the value follows from shapes and constants alone. */
  readonly value?: Tensor;
}

export interface ShapeCall {
  readonly node: NodeProto;
  readonly inputs: readonly (ShapeInfo | undefined)[];
  readonly opset: number;
}

/** Shapes of a node's outputs, or undefined if they do not follow from what is known. */
export type ShapeFunction = (call: ShapeCall) => (ShapeInfo | undefined)[] | undefined;

/** Thrown where shapes contradict each other: the probing length is not one that this graph can run at. */
export class ShapeConflict extends Error {
  readonly node: NodeProto;
  /** Lengths that the graph insists on: constants of the reshape that failed. */
  readonly wanted: readonly number[];

  constructor(node: NodeProto, message: string, wanted: readonly number[] = []) {
    super(message);
    this.node = node;
    this.wanted = wanted;
  }
}

export function broadcast(node: NodeProto, shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((dims) => dims.length));
  const out = Array.from<number>({ length: rank }).fill(1);
  for (const dims of shapes) {
    dims.forEach((dim, index) => {
      const at = rank - dims.length + index;
      if (dim === 1) return;
      if (out[at] !== 1 && out[at] !== dim) {
        const message = `cannot broadcast ${shapes.map((s) => `[${s.join(", ")}]`).join(" and ")}`;
        throw new ShapeConflict(node, message, [dim, out[at]!]);
      }
      out[at] = dim;
    });
  }
  return out;
}

/** An axis counted from the front. */
export const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** An integer list that newer operator sets give as an input and older ones as an attribute. */
export function integers({ node, inputs }: ShapeCall, index: number, name: string): number[] | undefined | "unknown" {
  const given = node.input[index];
  if (given !== undefined && given !== "") {
    const value = inputs[index]?.value;
    return value === undefined ? "unknown" : Array.from(value.data);
  }
  return intsAttribute(node, name);
}
