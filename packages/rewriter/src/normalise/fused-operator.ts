import { reasonFor, type Reason } from "../refusals/reason.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import { describeNode } from "@favor/onnx/graph";
import type { ShapeInfo } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";

/** One fused operator to be written out. */
export interface FusedOperator {
  readonly node: NodeProto;
  /** Shape of an input, at the sizes of the first probe; undefined where absent or unknown. */
  readonly input: (index: number) => ShapeInfo | undefined;
  /** Whether the operator is given an input. */
  readonly has: (index: number) => boolean;
}

/** Writes an operator out, with its outputs under their own names, or returns the reason why it has no plain form. */
export type Writer = (build: NodeBuilder, operator: FusedOperator) => { product: NodeProto } | Reason;

/** A reason for shapes that are unknown or do not fit the operator. */
export function unknownForm(node: NodeProto, what: string): Reason {
  return reasonFor("layout-not-understood", `${describeNode(node)} cannot be written out as plain operators: ${what}.`);
}
