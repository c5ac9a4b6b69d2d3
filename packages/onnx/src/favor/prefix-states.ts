import { makeNode } from "../graph/node.ts";
import { DataType, type GraphProto, type ValueInfoProto } from "../model/proto.ts";
import { createMessage } from "../model/schema.ts";
import type { CarriedState } from "./causal.ts";
import { maskedLog } from "./log-range.ts";
import type { NodeBuilder } from "./node-builder.ts";

export interface PrefixStates {
  /** Sums over all keys before each chunk, [batch, heads, chunks, M, width], times exp(-logScale). */
  readonly sumsBefore: string;
  /** Their log scales, the largest log weight before each chunk: [batch, heads, chunks, 1, 1]. */
  readonly logScalesBefore: string;
  /** After the last chunk. */
  readonly last: CarriedState;
}

/**
 * Running sums of the chunks' states by a Scan, each relative to the largest log weight so far: a plain cumulative sum
 * would need one scale for the whole sequence, which looks at keys to come.
 *
 *     scale' = max(scale, chunk scale),   S' = S exp(scale - scale') + chunk S exp(chunk scale - scale')
 *
 * @param own each chunk's sums, [batch, heads, chunks, M, width], times exp(-its scale)
 * @param scales [batch, heads or 1, chunks, 1, 1]
 */
export function prefixStates(build: NodeBuilder, own: string, scales: string, carried?: CarriedState): PrefixStates {
  const shape = build.op("Shape", [own]);
  const outer = build.slice(shape, 0, 0, 2);
  const state = carried ?? {
    sums: build.op("ConstantOfShape", [build.concat([outer, build.slice(shape, 0, 3, 5)], 0)]),
    logScale: filled(build, build.concat([outer, build.integers([1, 1])], 0), maskedLog),
  };
  // Scales that the heads share are spread, so that the state keeps its shape.
  const spread = build.op("Expand", [scales, build.concat([outer, build.integers([1, 1, 1])], 0)]);
  const inputs = [state.sums, state.logScale, own, spread];
  const [sums, logScale, sumsBefore, logScalesBefore] = build.ops("Scan", inputs, 4, {
    body: scanBody(),
    num_scan_inputs: { int: 2 },
    scan_input_axes: { ints: [2, 2] },
    scan_output_axes: { ints: [2, 2] },
  }) as [string, string, string, string];
  return { sumsBefore, logScalesBefore, last: { sums, logScale } };
}

function filled(build: NodeBuilder, shape: string, value: number): string {
  return build.op("Expand", [build.scalar(value), shape]);
}

/** One step: the state before goes out, the chunk's sums go in. Names are the body's own. */
function scanBody(): GraphProto {
  const nodes = [
    makeNode("Max", ["scale", "chunk_scale"], ["scale_next"]),
    makeNode("Sub", ["scale", "scale_next"], ["fall"]),
    makeNode("Exp", ["fall"], ["decay"]),
    makeNode("Mul", ["sums", "decay"], ["kept"]),
    makeNode("Sub", ["chunk_scale", "scale_next"], ["chunk_fall"]),
    makeNode("Exp", ["chunk_fall"], ["chunk_decay"]),
    makeNode("Mul", ["chunk_sums", "chunk_decay"], ["added"]),
    makeNode("Add", ["kept", "added"], ["sums_next"]),
    makeNode("Identity", ["sums"], ["sums_before"]),
    makeNode("Identity", ["scale"], ["scale_before"]),
  ];
  const float = (name: string): ValueInfoProto =>
    createMessage("ValueInfoProto", { name, type: { tensorType: { elemType: DataType.FLOAT }, denotation: "" } });
  return createMessage("GraphProto", {
    name: "favor_prefix_sum",
    node: nodes,
    input: ["sums", "scale", "chunk_sums", "chunk_scale"].map(float),
    output: ["sums_next", "scale_next", "sums_before", "scale_before"].map(float),
  });
}

