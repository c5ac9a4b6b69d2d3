import Long from "long";
import type { AttentionSite } from "../attention/site.ts";
import type { Graph } from "@favor/onnx/graph";
import { DataType, type ModelProto, type ValueInfoProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { maskedLog } from "./log-range.ts";
import type { NodeBuilder } from "@favor/onnx/graph";

/** The state that a causal site carries from one call to the next: the sums over its keys so far. */
export interface CarriedState {
  /** [batch, heads, M, valueDim + 1]: sum of phi(k) [v, 1], times exp(-logScale) */
  readonly sums: string;
  /** [batch, heads, 1, 1]: the log scale of the sums */
  readonly logScale: string;
}

const pastPrefix = "favor_past.";
const presentPrefix = "favor_present.";
/** The input with the number of tokens before the current piece: a scalar, int64. */
export const pastLengthInput = "favor_past_length";

/** One state input of a stateful model, and the output that feeds it in the next call. */
export interface StateInput {
  /** `favor_past.0.sums` or `favor_past.0.log_scale`, where 0 is the attention's number in the report. */
  readonly input: string;
  /** `favor_present.0.sums` and so on. */
  readonly output: string;
  /** Shape without the batch: [heads, M, valueDim + 1] or [heads, 1, 1]; float32. */
  readonly dims: readonly number[];
  /** The value of every element before the first token: 0, or -1e30 for a log scale. */
  readonly initial: number;
}

export interface StatefulInputs {
  readonly states: readonly StateInput[];
  /** Name of the scalar int64 input with the number of tokens fed before; undefined if the model ignores positions. */
  readonly pastLength: string | undefined;
}

/**
 * The inputs that a model converted with `stateful` has besides its own. For the first piece, fill every state with its
 * `initial`; after that, feed the output of the previous call. `pastLength` counts from 0.
 *
 * @returns no states if the model has none
 */
export function statefulInputs(model: ModelProto): StatefulInputs {
  const inputs = model.graph.input;
  const states = inputs.filter(({ name }) => name.startsWith(pastPrefix));
  return {
    states: states.map(({ name, type }) => ({
      input: name,
      output: presentPrefix + name.slice(pastPrefix.length),
      dims: (type?.tensorType?.shape?.dim ?? []).slice(1).map((dim) => dim.dimValue?.toNumber() ?? 0),
      initial: name.endsWith(".sums") ? 0 : maskedLog,
    })),
    pastLength: inputs.find(({ name }) => name === pastLengthInput)?.name,
  };
}

/** Declares the inputs of one site's state. */
export function declarePast(graph: Graph, site: AttentionSite, count: number): CarriedState {
  const { index, heads, valueDim } = site;
  const declare = (name: string, dims: readonly number[]): string => {
    graph.proto.input.push(stateInfo(name, dims));
    return name;
  };
  return {
    sums: declare(`${pastPrefix}${index}.sums`, [heads, count, valueDim + 1]),
    logScale: declare(`${pastPrefix}${index}.log_scale`, [heads, 1, 1]),
  };
}

/** Makes the state of one site after the piece an output. */
export function declarePresent(build: NodeBuilder, site: AttentionSite, count: number, state: CarriedState): void {
  const { index, heads, valueDim } = site;
  const declare = (value: string, name: string, dims: readonly number[]): void => {
    build.op("Identity", [value], {}, { output: name });
    build.graph.proto.output.push(stateInfo(name, dims));
  };
  declare(state.sums, `${presentPrefix}${index}.sums`, [heads, count, valueDim + 1]);
  declare(state.logScale, `${presentPrefix}${index}.log_scale`, [heads, 1, 1]);
}

/** A float32 value [batch, ...dims]. The batch gets its own name, because that of the model's inputs is unknown. */
function stateInfo(name: string, dims: readonly number[]): ValueInfoProto {
  const shape = createMessage("TensorShapeProto", {
    dim: [
      createMessage("DimensionProto", { dimParam: "favor_batch" }),
      ...dims.map((dim) => createMessage("DimensionProto", { dimValue: Long.fromNumber(dim) })),
    ],
  });
  const type = { tensorType: { elemType: DataType.FLOAT, shape }, denotation: "" };
  return createMessage("ValueInfoProto", { name, type });
}
