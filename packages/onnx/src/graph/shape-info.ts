import type { Tensor } from "../evaluate/tensor.ts";
import type { NodeProto } from "../model/proto.ts";

/** The facts known about a value when the model's inputs have concrete shapes. */
export interface ShapeInfo {
  readonly dims: readonly number[];
  readonly dataType: number;
  /** Present if the value follows from shapes and constants alone. */
  readonly value?: Tensor;
}

/** Thrown if shapes contradict each other: the graph cannot run at the probing length. */
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
