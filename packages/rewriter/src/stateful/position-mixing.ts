import type { AttentionContext } from "../attention/context.ts";
import { GraphError } from "@favor/onnx/graph";
import { bodies, describeNode, intAttribute, intsAttribute } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";

/** The error for a model that cannot be fed in pieces. */
export function cannotBeStateful(found: string, details: Readonly<Record<string, unknown>>): GraphError {
  const advice = "Convert the model without stateful, and feed it whole sequences.";
  return new GraphError("cannot-be-stateful", `The model cannot be fed in pieces: ${found}. ${advice}`, details);
}

/** How many tokens longer the second probe is; 0 without one, or if the length is fixed. */
export function lengthStep({ first, second }: AttentionContext): number {
  return second === undefined ? 0 : second.sizes.length - first.sizes.length;
}

/**
 * Refuses a model in which anything but the converted attention carries content from one position to another: its
 * result for a piece would differ from that for the whole. This looks at reductions, cumulative sums, softmaxes,
 * products and convolutions over positions, recurrences, and operators that add or drop positions.
 *
 * @param context of the main graph, as found before the conversion; its dead nodes are gone
 * @throws GraphError "cannot-be-stateful"
 */
export function refusePositionMixing(context: AttentionContext): void {
  if (lengthStep(context) === 0) {
    throw cannotBeStateful("its input has a fixed length", {});
  }
  for (const node of context.graph.nodes) {
    if (!node.output.some((output) => context.dynamic.has(output))) continue;
    const how = mixing(context, node);
    if (how === undefined) continue;
    throw cannotBeStateful(`${describeNode(node)} ${how}`, { node: node.name || node.output[0] });
  }
}

/** What a node does that mixes positions; undefined if it treats each position on its own. */
function mixing(context: AttentionContext, node: NodeProto): string | undefined {
  const { opType, input } = node;
  const [data = ""] = input;
  if (bodies(node).length > 0) return "has a body, and Favor does not look into bodies";
  if (/^(LSTM|GRU|RNN)$/.test(opType)) return "is a recurrence with a state of its own";
  if (/^(Reduce|Arg(Max|Min)$|CumSum$|TopK$|(Log)?Softmax$|Hardmax$|LpNormalization$)/.test(opType)) {
    const axes = axesOf(context, node);
    return axes.some((axis) => isLength(context, data, axis)) ? "computes over the positions of its input" : undefined;
  }
  if (/^(Conv|ConvTranspose|.*Pool|InstanceNormalization|GroupNormalization)$/.test(opType)) {
    return hasLength(context, data, 2) ? "computes over neighbouring positions" : undefined;
  }
  if (opType === "MatMul") {
    const rank = rankOf(context, data);
    return rank > 1 && isLength(context, data, rank - 1) ? "sums over positions" : undefined;
  }
  const isMoved = opType === "Slice" || opType === "Pad" || opType === "Concat";
  if (isMoved && changesLength(context, node)) return "adds or drops positions";
  if (opType === "Gather" && isLength(context, data, positive(context, data, intAttribute(node, "axis", 0)))) {
    const index = context.graph.constant(input[1]!)?.data;
    return index !== undefined && index.some((at) => at !== -1) ? "picks a position by its number" : undefined;
  }
  return undefined;
}

/** Axes of an operator that names them in an attribute or its second input; all of them if it names none. */
function axesOf(context: AttentionContext, node: NodeProto): number[] {
  const data = node.input[0]!;
  const all = Array.from({ length: rankOf(context, data) }, (_, axis) => axis);
  const given = node.opType === "TopK" ? undefined : context.first.info.get(node.input[1] ?? "")?.value?.data;
  const attribute = intsAttribute(node, "axes");
  const isSingle = !node.opType.startsWith("Reduce");
  const axes = attribute?.length
    ? attribute
    : given?.length
      ? Array.from(given)
      : isSingle
        ? [intAttribute(node, "axis", node.opType.startsWith("Arg") ? 0 : -1)]
        : all;
  return axes.map((axis) => positive(context, data, axis));
}

const positive = (context: AttentionContext, value: string, axis: number): number =>
  axis < 0 ? axis + rankOf(context, value) : axis;

const rankOf = (context: AttentionContext, value: string): number => context.first.info.get(value)?.dims.length ?? 0;

/** Whether an axis grows with the input's length. */
function isLength(context: AttentionContext, value: string, axis: number): boolean {
  const one = context.first.info.get(value)?.dims[axis];
  const two = context.second?.info.get(value)?.dims[axis];
  return one !== undefined && two !== undefined && two - one === lengthStep(context);
}

function hasLength(context: AttentionContext, value: string, from: number): boolean {
  const axes = Array.from({ length: rankOf(context, value) }, (_, axis) => axis);
  return axes.slice(from).some((axis) => isLength(context, value, axis));
}

/** Whether a node's output has more or fewer positions than an input of it has. */
function changesLength({ first, second, dynamic }: AttentionContext, node: NodeProto): boolean {
  const sizes = (value: string) => [first.info.get(value)?.dims, second?.info.get(value)?.dims] as const;
  const [made, madeLonger] = sizes(node.output[0]!);
  return node.input.some((value) => {
    const [dims, longer] = sizes(value);
    if (!dynamic.has(value) || dims === undefined || made?.length !== dims.length) return false;
    // An axis that depends on the length and changes its size.
    return dims.some(
      (dim, axis) => dim !== made[axis] && (longer?.[axis] !== dim || madeLonger?.[axis] !== made[axis]),
    );
  });
}
