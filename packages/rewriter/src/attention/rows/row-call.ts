import type { GraphProto, NodeProto } from "@favor/onnx";
import type { Rows } from "./rows.ts";

/** One node of whose output some rows are wanted. */
export interface RowCall {
  readonly node: NodeProto;
  /** Which output. */
  readonly output: number;
  readonly rows: Rows;
  readonly opset: number;
  /** Whether the axis may be one that the node works along: it is asked where the axis comes from, not for its rows. */
  readonly along: boolean;
  /** The dimensions of a value at each probe: one of the node's graph, or of a body of the node. */
  readonly dims: (value: string, body?: GraphProto) => readonly (readonly number[])[] | undefined;
  readonly numbers: (value: string) => readonly (readonly number[])[] | undefined;
}

/** What rows of a node's output are made of. */
export interface RowSources {
  /** For each value that is read: its rows, or all of it (undefined). */
  readonly inputs: readonly (Rows | undefined)[];
  /** These values; default: the node's inputs. */
  readonly values?: readonly string[];
  /** The input that says how long the output is along the axis of the rows, and the place of that number in it. */
  readonly shape?: { readonly input: number; readonly entry: number };
  /**
   * What becomes of a node whose copy would not do. "copy": its one value. "then_branch" and "else_branch": an If whose branch
   * of this name gives its second value; the rows of the other branch are picked.
   */
  readonly as?: "triangle" | "unsliced" | "copy" | "then_branch" | "else_branch";
}

/** Undefined: the rows of the output do not follow from rows of the inputs. */
export type RowRule = (call: RowCall) => RowSources | undefined;

export type Dims = readonly (readonly number[])[];

/** In place of rows: the whole input is read. */
export const whole = undefined;
export const isOne = (dims: Dims, axis: number): boolean => dims.every((each) => each[axis] === 1);
export const isSame = (one: Dims, axis: number, other: Dims, otherAxis: number): boolean =>
  one.every((each, probe) => each[axis] === other[probe]![otherAxis]);
export const sizesOf = (dims: Dims, axis: number): number[] => dims.map((each) => each[axis]!);
export const outputDims = ({ node, output, dims }: RowCall): Dims | undefined => dims(node.output[output] ?? "");
export const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);
export const isPresent = (name: string | undefined): name is string => name !== undefined && name !== "";
