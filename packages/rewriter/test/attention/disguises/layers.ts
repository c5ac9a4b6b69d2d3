import { DataType, type ModelProto } from "@favor/onnx";
import { hidden, layerModel, paddingMask } from "@favor/test-support/layer";
import type { Layer, LayerInput } from "@favor/test-support/layer";

/** What becomes of the logits on their way to the probabilities. */
export type Normalise = (b: Layer, logits: string) => string;

/** One layer of attention, as in an exported encoder, that is not what it seems to be on a few short inputs. */
export interface Disguise {
  readonly name: string;
  readonly attend: Normalise;
  /** Inputs besides token ids and the padding mask. */
  readonly inputs?: readonly LayerInput[];
  /** Number of tokens; default 64. */
  readonly vocabulary?: number;
}

export const input = (name: string, dataType: number, ...dims: (number | string)[]): LayerInput => ({
  name,
  dataType,
  dims,
});
const ids: LayerInput = input("ids", DataType.INT64, "batch", "length");
export const types: LayerInput = input("types", DataType.INT64, "batch", "length");
export const positionIds: LayerInput = input("positions", DataType.INT64, "batch", "length");

/** The layer on the embeddings of tokens, which are the value `x`. */
export function disguisedModel({ attend, inputs = [], vocabulary = 64 }: Disguise): ModelProto {
  return layerModel(
    (b) => {
      b.op("Gather", [b.weights([vocabulary, hidden], 1), "ids"], {}, { output: "x" });
      return b.attend((logits) => attend(b, logits));
    },
    { inputs: [ids, paddingMask, ...inputs] },
  );
}

/** Attention with a padding mask as well. */
export const padded =
  (normalise: Normalise): Normalise =>
  (b, s) =>
    normalise(b, b.op("Add", [s, b.paddingBias()]));
export const softmax: Normalise = (b, s) => b.softmax(s);
/** Keys count where a condition holds. */
export const hideUnless =
  (keep: (b: Layer) => string): Normalise =>
  (b, s) =>
    b.softmax(b.masked(keep(b), s));
export const plus =
  (bias: (b: Layer) => string): Normalise =>
  (b, s) =>
    b.softmax(b.op("Add", [s, bias(b)]));
export const times =
  (factor: (b: Layer) => string): Normalise =>
  (b, s) =>
    b.softmax(b.op("Mul", [s, factor(b)]));
/** The probabilities, changed. */
export const afterwards =
  (change: (b: Layer, probabilities: string) => string): Normalise =>
  (b, s) =>
    change(b, b.softmax(s));

export const float = (b: Layer, value: string): string => b.cast(value, DataType.FLOAT);
export const bool = (b: Layer, value: string): string => b.cast(value, DataType.BOOL);
export const whole = (b: Layer, value: string): string => b.cast(value, DataType.INT64);
export const by = (b: Layer, opType: string, value: string, number: number): string =>
  b.op(opType, [value, b.scalar(number)]);
export const byWhole = (b: Layer, opType: string, value: string, number: number): string =>
  b.op(opType, [value, b.integer(number)]);
/** How far a key is from a query, [length, length]: whole numbers, and as floats. */
export const distance = (b: Layer): string => b.op("Abs", [b.distances()]);
export const floatDistance = (b: Layer): string => float(b, distance(b));
export const length = (b: Layer): string => float(b, wholeLength(b));
export const wholeLength = (b: Layer): string => b.squeeze(b.dimension("x", 1), [0]);
export const batch = (b: Layer): string => b.squeeze(b.dimension("x", 0), [0]);
/** [batch, length] as [batch, 1, length, 1] for queries and [batch, 1, 1, length] for keys. */
export const ofQueries = (b: Layer, value: string): string => b.unsqueeze(value, [1, 3]);
export const ofKeys = (b: Layer, value: string): string => b.unsqueeze(value, [1, 2]);
export const same = (b: Layer, value: string): string => b.op("Equal", [ofQueries(b, value), ofKeys(b, value)]);
/** Positions of queries and keys, [length, 1] and [length]. */
export const positionsApart = (b: Layer, at: string): [query: string, key: string] => [b.unsqueeze(at, [1]), at];
/** Key before query, or at its place, [length, length]. */
export const causal = (b: Layer): string => byWhole(b, "LessOrEqual", b.distances(), 0);
/** Far below zero where a number is above zero. */
export const hiding = (b: Layer, value: string): string => by(b, "Mul", value, -1e9);
export const table = (b: Layer, size: number, of: (i: number) => number): string =>
  b.floats(
    "table",
    [size],
    Float32Array.from({ length: size }, (_, i) => of(i)),
  );
/** A number for each item: [batch] as [batch, 1, 1, 1]. */
export const ofItems = (b: Layer, value: string): string => b.unsqueeze(value, [1, 2, 3]);
export const reduced = (b: Layer, opType: string, value: string, axis: number = 1): string =>
  opType === "ReduceSum"
    ? b.op(opType, [value, b.integers([axis])], { keepdims: { int: 0 } })
    : b.op(opType, [value], { axes: { ints: [axis] }, keepdims: { int: 0 } });
/** A number for each key, added to the logits of a padded attention. */
export const onLogits = (of: (b: Layer) => string): Normalise => padded(plus((b) => ofKeys(b, of(b))));
