import { elementCount, EvaluationLimitError } from "@favor/onnx/evaluate";
import { graphProbe, probe, ShapeConflict, type GraphProbe } from "@favor/onnx/graph";
import type { GraphProto } from "@favor/onnx";
import type { AttentionContext } from "../context.ts";

/** How many positions more the third probe has: no multiple of the usual blocks. */
const furtherLength = 11;

/** The shapes of one graph's values at two or three sizes of its inputs, by which rows are followed. */
export class RowProbes {
  readonly context: AttentionContext;
  readonly probes: readonly GraphProbe[];
  /** The first probe but for the length; undefined if the graph takes inputs of one length alone. */
  readonly longer: GraphProbe | undefined;

  constructor(context: AttentionContext) {
    const { first, second } = context;
    this.context = context;
    this.longer = longerProbe(context);
    this.probes = [first, second, this.longer].filter((one) => one !== undefined);
  }

  /**
   * The dimensions of a value at each probe; undefined if one of them does not know it, or its rank changes.
   *
   * @param body the body of If, Loop or Scan that has the value; default: the graph itself
   */
  dims(value: string, body?: GraphProto): readonly (readonly number[])[] | undefined {
    const found = this.probes.map(
      ({ info, bodies }) => (body === undefined ? info : bodies.get(body))?.get(value)?.dims,
    );
    const known = found.filter((dims) => dims !== undefined);
    if (known.length < found.length || known.some(({ length }) => length !== known[0]!.length)) return undefined;
    return known;
  }

  /** The numbers of a value that follows from shapes, at each probe. */
  numbers(value: string): readonly (readonly number[])[] | undefined {
    const found = this.probes.map(({ info }) => info.get(value)?.value?.data);
    const known = found.filter((data) => data !== undefined);
    return known.length < found.length ? undefined : known.map((data) => Array.from(data));
  }

  /** By how much a value is larger at the longer probe; undefined if it is not known there. */
  growth(value: string): number | undefined {
    const [short, long] = [this.context.first, this.longer].map((one) => one?.info.get(value)?.dims);
    return short && long && elementCount(long) / elementCount(short);
  }
}

function longerProbe({ graph, first }: AttentionContext): GraphProbe | undefined {
  try {
    const length = first.sizes.length + furtherLength;
    return graphProbe(graph, probe(graph.root, { ...first.sizes, length }));
  } catch (error) {
    if (error instanceof ShapeConflict || error instanceof EvaluationLimitError) return undefined;
    throw error;
  }
}
