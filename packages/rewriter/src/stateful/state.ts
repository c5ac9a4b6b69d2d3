import Long from "long";
import type { AttentionSite } from "../attention/site.ts";
import type { Graph } from "@favor/onnx/graph";
import { DataType, type ModelProto, type ValueInfoProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { maskedLog } from "./log-range.ts";
import type { NodeBuilder } from "@favor/onnx/graph";

/** The state that a causal site carries from one call to the next: what its keys so far add up to. */
export interface CarriedState {
  /** [batch, heads, M, valueDim + 1]: sum of phi(k) [v, 1], times exp(-logScale) */
  readonly sums: string;
  /** [batch, heads, 1, 1]: the log scale of the sums */
  readonly logScale: string;
}

const pastPrefix = "favor_past.";
const presentPrefix = "favor_present.";
/** The input that counts the tokens before the piece at hand: int64, a scalar. */
export const pastLengthInput = "favor_past_length";

/** One input of a stateful model that carries a state, and the output that it is fed from at the next call. */
export interface StateInput {
  /** `favor_past.0.sums` or `favor_past.0.log_scale`, 0 being the attention's number in the report. */
  readonly input: string;
  /** `favor_present.0.sums` and so on. */
  readonly output: string;
  /** Shape without the batch: [heads, M, valueDim + 1] or [heads, 1, 1]; float32. */
  readonly dims: readonly number[];
  /** What every element is before the first token: 0, and -1e30 for a log scale. */
  readonly initial: number;
}

export interface StatefulInputs {
  readonly states: readonly StateInput[];
  /** The name of the scalar int64 input with the number of tokens fed before; undefined if positions are no matter. */
  readonly pastLength: string | undefined;
}

/**
 * What a model converted with `stateful` must be fed beside its own inputs. Before the first piece every state is
 * filled with its `initial`, afterwards it is the output of the call before; `pastLength` counts from 0.
 *
 * @returns no states for a model without any
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

/** Makes outputs of one site's state after the piece. */
export function declarePresent(build: NodeBuilder, site: AttentionSite, count: number, state: CarriedState): void {
  const { index, heads, valueDim } = site;
  const declare = (value: string, name: string, dims: readonly number[]): void => {
    build.op("Identity", [value], {}, { output: name });
    build.graph.proto.output.push(stateInfo(name, dims));
  };
  declare(state.sums, `${presentPrefix}${index}.sums`, [heads, count, valueDim + 1]);
  declare(state.logScale, `${presentPrefix}${index}.log_scale`, [heads, 1, 1]);
}

/** A float32 value [batch, ...dims]; the batch has a name of its own, as that of the model's inputs is not known. */
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
