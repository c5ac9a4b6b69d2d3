import { makeNode } from "@favor/onnx/graph";
import { DataType, type NodeProto, type ValueInfoProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { valueInfo } from "./body-value.ts";
import { maskedLog } from "../stateful/log-range.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import type { CarriedState } from "../stateful/state.ts";

export interface PrefixStates {
  /** Sums over all keys before each chunk, [batch, heads, chunks, M, width], times exp(-logScale). */
  readonly sumsBefore: string;
  /** Their log scales, the largest log weight before each chunk: [batch, heads, chunks, 1, 1]. */
  readonly logScalesBefore: string;
  /** After the last chunk. */
  readonly last: CarriedState;
}

export interface PrefixOptions {
  /** The state before the first chunk; default none. */
  readonly carried?: CarriedState | undefined;
  /**
   * By how much the log scale of a state falls before it meets the sums of the next chunk, [batch or 1, heads, chunks, 1, 1].
   * Default: not at all.
   */
  readonly fade?: string | undefined;
  /** "backward" runs from the last chunk to the first: "before" is then behind. Default "forward". */
  readonly direction?: "forward" | "backward";
}

/**
 * Running sums of the chunks' states by Scans, each relative to the largest log weight so far: a plain cumulative sum
 * would need one scale for the whole sequence, which looks at keys to come.
 *
 *     scale' = max(scale - fade, chunk scale),   S' = S exp(scale - fade - scale') + chunk S exp(chunk scale - scale')
 *
 * @param own each chunk's sums, [batch, heads, chunks, M, width], times exp(-its scale)
 * @param scales [batch, heads or 1, chunks, 1, 1]
 */
export function prefixStates(
  build: NodeBuilder,
  own: string,
  scales: string,
  { carried, fade, direction = "forward" }: PrefixOptions = {},
): PrefixStates {
  const shape = build.op("Shape", [own]);
  const outer = build.slice(shape, 0, 0, 2);
  const state = carried ?? {
    sums: build.op("ConstantOfShape", [build.concat([outer, build.slice(shape, 0, 3, 5)], 0)]),
    logScale: filled(build, build.concat([outer, build.integers([1, 1])], 0), maskedLog),
  };
  // Scales that the heads share are spread, so that the state keeps its shape.
  const spread = build.op("Expand", [scales, build.concat([outer, build.integers([1, 1, 1])], 0)]);
  const [logScale, before] =
    fade === undefined
      ? scan(build, runningMaximum, state.logScale, [spread], direction)
      : scan(build, fadingMaximum, state.logScale, [spread, fade], direction);
  const after = build.op("Max", [before, spread]);
  const decay = build.op("Exp", [build.op("Sub", [before, after])]);
  const gain = build.op("Exp", [build.op("Sub", [spread, after])]);
  const [sums, sumsBefore] = scan(build, decayedSum, state.sums, [own, decay, gain], direction);
  return { sumsBefore, logScalesBefore: before, last: { sums, logScale } };
}

function filled(build: NodeBuilder, shape: string, value: number): string {
  return build.op("Expand", [build.scalar(value), shape]);
}

/** One step of a Scan, on the state and the chunk's inputs, named in this order: `state`, then `inputs`. */
interface Step {
  readonly inputs: readonly string[];
  readonly nodes: readonly NodeProto[];
  /** What is kept of the state as it meets the chunk. */
  readonly before: string;
}

const runningMaximum: Step = {
  inputs: ["chunk"],
  nodes: [makeNode("Max", ["state", "chunk"], ["next"])],
  before: "state",
};

const fadingMaximum: Step = {
  inputs: ["chunk", "fade"],
  nodes: [makeNode("Sub", ["state", "fade"], ["faded"]), makeNode("Max", ["faded", "chunk"], ["next"])],
  before: "faded",
};

const decayedSum: Step = {
  inputs: ["chunk", "decay", "gain"],
  nodes: [
    makeNode("Mul", ["state", "decay"], ["kept"]),
    makeNode("Mul", ["chunk", "gain"], ["added"]),
    makeNode("Add", ["kept", "added"], ["next"]),
  ],
  before: "state",
};

/** Runs a step over the chunks, axis 2: the state after the last one, and the states before each. */
function scan(
  build: NodeBuilder,
  step: Step,
  state: string,
  inputs: readonly string[],
  direction: "forward" | "backward",
): [string, string] {
  const body = createMessage("GraphProto", {
    name: "favor_prefix",
    node: [...step.nodes, makeNode("Identity", [step.before], ["before"])],
    input: ["state", ...step.inputs].map(float),
    output: ["next", "before"].map(float),
  });
  const [last, before] = build.ops("Scan", [state, ...inputs], 2, {
    body: { graph: body },
    num_scan_inputs: { int: inputs.length },
    scan_input_axes: { ints: inputs.map(() => 2) },
    scan_output_axes: { ints: [2] },
    ...(direction === "backward" && {
      scan_input_directions: { ints: inputs.map(() => 1) },
      scan_output_directions: { ints: [1] },
    }),
  }) as [string, string];
  return [last, before];
}

/** A state, or one chunk's part of an input: float32 of rank 4, which onnxruntime does not always infer itself. */
const float = (name: string): ValueInfoProto => valueInfo(name, { rank: 4, dataType: DataType.FLOAT });
