import type { NodeProto } from "@favor/onnx";
import type { Tensor } from "@favor/onnx/evaluate";
import { bool, float32, int64, list, type AttributeValue } from "@favor/test-support/nodes";

/** A float input to differentiate for: random values of a shape, from a range that keeps away from kinks. */
export interface RandomInput {
  readonly shape: readonly number[];
  readonly low: number;
  readonly high: number;
  /** Half of the values negative: -high to -low. */
  readonly signed: boolean;
}

/** A node to differentiate; its inputs are named in0, in1, ..., its outputs out0, out1, ... */
export interface GradientCase {
  /** Type, of the standard domain or that before a colon. */
  readonly op: string;
  /** What is special about it. */
  readonly form?: string;
  /** null: left out. A tensor is a constant of the graph. */
  readonly inputs: readonly (RandomInput | Tensor | null)[];
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** Version of the standard operator set; default 23. */
  readonly opset?: number;
  /** Number of outputs. Default 1. */
  readonly outputs?: number;
  /** Outputs that the loss takes in, for the others are integers. Default all. */
  readonly floats?: readonly number[];
  /** How many inputs are the node's; those after are for its bodies alone. Default all. */
  readonly own?: number;
  /** The node with others around it, of which the last makes out0. Default: the node alone. */
  readonly nodes?: readonly NodeProto[];
  /** Nodes that say the same in other operators, where the host evaluates the node itself not. */
  readonly reference?: readonly NodeProto[];
}

/** Values in [0.3, 2] and [-2, -0.3]. */
export const signed = (...shape: number[]): RandomInput => ({ shape, low: 0.3, high: 2, signed: true });
/** Values in [low, high]. */
export const between = (low: number, high: number, ...shape: number[]): RandomInput => {
  return { shape, low, high, signed: false };
};
/** Values in [0.4, 2]. */
export const positive = (...shape: number[]): RandomInput => between(0.4, 2, ...shape);
/** Values in [-1, 1]. */
export const smooth = (...shape: number[]): RandomInput => between(-1, 1, ...shape);

export const isRandom = (input: RandomInput | Tensor): input is RandomInput => "shape" in input;

export { bool, float32, int64, list };
export type { AttributeValue };
