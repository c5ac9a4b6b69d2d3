import { dimsOf, type AttentionContext } from "../attention/context.ts";
import { graphProbe, type GraphProbe } from "@favor/onnx/graph";
import { intAttribute } from "@favor/onnx/graph";
import { probe } from "@favor/onnx/graph";
import { ShapeConflict } from "@favor/onnx/graph";
import { reachable, readsData } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";

/**
 * Computes every Shape of a value that nothing else needs from the shapes of the graph's inputs, if probing at several
 * sizes shows that each dimension is a constant or a multiple of an input's dimension. Some exporters (Keras, tf2onnx)
 * read shapes off the logits and probabilities; after the attention is replaced, such a Shape node alone would keep the
 * quadratic tensor alive. So would a CastLike, which reads nothing but the type.
 */
export function detachShapes(context: AttentionContext, build: NodeBuilder): void {
  const { graph, second } = context;
  detachTypes(context, build);
  if (second === undefined) return;
  const needed = valuesNeeded(context);
  const candidates = graph.nodes.filter(({ opType, input }) => opType === "Shape" && !needed.has(input[0] ?? ""));
  if (candidates.length === 0) return;
  const checks = furtherProbes(context);
  const replaced = new Set<NodeProto>();
  for (const node of candidates) {
    const value = node.input[0] ?? "";
    const dims = dimsOf(context, value);
    const other = second.info.get(value)?.dims;
    if (dims === undefined || other?.length !== dims.length) continue;
    const start = intAttribute(node, "start", 0);
    const end = intAttribute(node, "end", dims.length);
    const sources = dims.map((dim, axis) => sourceOf(context, dim, other[axis]!)).slice(start, end);
    const agrees = ({ info }: GraphProbe): boolean =>
      sources.every((source, i) => source && dimensionAt(info, source) === info.get(value)?.dims.slice(start, end)[i]);
    if (sources.length === 0 || sources.includes(undefined) || !checks.every(agrees)) continue;
    replaced.add(node);
    const parts = sources.map((source) => writeDimension(build, source!));
    build.op("Concat", parts, { axis: { int: 0 } }, { output: node.output[0]! });
  }
  graph.proto.node = graph.proto.node.filter((node) => !replaced.has(node));
}

function detachTypes(context: AttentionContext, build: NodeBuilder): void {
  const { graph } = context;
  const likes = graph.nodes.filter(({ opType }) => opType === "CastLike");
  if (likes.length === 0) return;
  const needed = valuesNeeded(context);
  const replaced = new Set<NodeProto>();
  for (const node of likes) {
    const [value = "", like = ""] = node.input;
    const type = context.first.info.get(like)?.dataType;
    if (needed.has(like) || type === undefined) continue;
    replaced.add(node);
    build.cast(value, type, node.output[0]!);
  }
  graph.proto.node = graph.proto.node.filter((node) => !replaced.has(node));
}

/** Additional lengths to probe. With them, remainders of division by 2, 3, 4 or 8 and rounded numbers vary. */
const furtherLengths = [-1, 6];

function furtherProbes({ graph, first: { sizes } }: AttentionContext): GraphProbe[] {
  return furtherLengths.flatMap((more) => {
    try {
      return graphProbe(graph, probe(graph.root, { ...sizes, length: sizes.length + more })) ?? [];
    } catch (error) {
      if (error instanceof ShapeConflict) return [];
      throw error;
    }
  });
}

/** Values whose data the outputs need. A Shape node does not need the data of its input, nor CastLike of its second. */
function valuesNeeded({ graph }: AttentionContext): Set<string> {
  const outputs = graph.proto.output.map(({ name }) => name);
  return new Set(
    reachable(outputs, (value) => {
      const node = graph.producer(value);
      return node === undefined ? [] : readsData(node);
    }),
  );
}

/** An axis of what is fed. */
interface InputAxis {
  readonly input: string;
  readonly axis: number;
}

/** A constant, an axis and its factor, or a sum of two axes: keys that are cached, and those of the tokens that are fed. */
type DimensionSource =
  | { readonly constant: number }
  | { readonly of: InputAxis; readonly times: number }
  | { readonly sum: readonly [InputAxis, InputAxis] };

function sourceOf(context: AttentionContext, first: number, second: number): DimensionSource | undefined {
  if (first === second) return { constant: first };
  const axes = inputAxes(context);
  for (const { one, two, ...of } of axes) {
    const times = first / one;
    if (one !== two && Number.isInteger(times) && second === times * two) return { of, times };
  }
  for (const { one, two, ...left } of axes) {
    const right = axes.find((other) => one + other.one === first && two + other.two === second);
    if (right !== undefined) return { sum: [left, { input: right.input, axis: right.axis }] };
  }
  return undefined;
}

/** Every axis of the model's inputs, with its sizes at both probes. */
function inputAxes({ graph, first, second }: AttentionContext): (InputAxis & { one: number; two: number })[] {
  return graph.root.inputs.flatMap(({ name: input }) => {
    const [ones, twos] = [first.info.get(input)?.dims ?? [], second!.info.get(input)?.dims ?? []];
    return ones.map((one, axis) => ({ input, axis, one, two: twos[axis]! }));
  });
}

function dimensionAt(info: GraphProbe["info"], source: DimensionSource): number {
  if ("constant" in source) return source.constant;
  const size = ({ input, axis }: InputAxis): number => info.get(input)?.dims[axis] ?? 0;
  return "sum" in source ? size(source.sum[0]) + size(source.sum[1]) : size(source.of) * source.times;
}

function writeDimension(build: NodeBuilder, source: DimensionSource): string {
  if ("constant" in source) return build.integers([source.constant]);
  const written = ({ input, axis }: InputAxis): string => build.dimension(input, axis);
  if ("sum" in source) return build.op("Add", source.sum.map(written));
  const dimension = written(source.of);
  return source.times === 1 ? dimension : build.op("Mul", [dimension, build.integers([source.times])]);
}
