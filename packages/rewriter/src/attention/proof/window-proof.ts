import { tensorOf, type Tensor } from "@favor/onnx/evaluate";
import { decodeTensor } from "@favor/onnx/evaluate";
import { EvaluationError } from "@favor/onnx/evaluate";
import { probe } from "@favor/onnx/graph";
import { ShapeConflict } from "@favor/onnx/graph";
import { describeNode } from "@favor/onnx/graph";
import { DataType, type NodeProto } from "@favor/onnx";
import { ancestors } from "@favor/onnx/graph";
import { graphProbe, type GraphProbe } from "@favor/onnx/graph";
import { isWithin } from "../band.ts";
import { steadyValue, type AttentionContext } from "../context.ts";
import { isCausal, type MaskVerdict } from "../site.ts";
import { drawInputs } from "./probing-inputs.ts";
import type { Region, RegionLabels } from "../wiring/region.ts";
import { allRead, RegionEvaluation, uniformWeights, type RegionInputs } from "./region-evaluation.ts";
import { reasonFor, type Reason } from "../../refusals/reason.ts";

/** One region to be proved a softmax, and what is needed to evaluate it. */
export interface MaskQuestion {
  readonly context: AttentionContext;
  readonly region: Region;
  readonly inputs: RegionInputs;
  readonly labels: RegionLabels;
  /** Size of the site's batch at a probe, heads not included. */
  readonly batchAt: (probe: GraphProbe) => number;
  readonly random: () => number;
}

/** Operators by which masks compare and shift positions, or sort them into blocks. */
const windowOperators = new Set(
  "Less LessOrEqual Greater GreaterOrEqual Sub Add Clip Min Max Trilu Div Mod Equal".split(" "),
);
/** Logits that a longer evaluation may have, all heads together. */
const affordableLogits = 1 << 20;
/** Constant masks beyond this many elements are not read. */
const largestConstant = 1 << 26;
/** The size that replaces a window's, to see whether it matters. */
const narrow = 2;

interface WindowSize {
  readonly node: NodeProto;
  readonly value: string;
  readonly size: number;
}

/** Single integers that operators on the way to the mask compare or shift by, the same at every length. */
function windowSizes({ context, inputs }: MaskQuestion): WindowSize[] {
  const sizes: WindowSize[] = [];
  for (const node of ancestors(context.graph, inputs.values)) {
    if (!windowOperators.has(node.opType)) continue;
    for (const value of node.input) {
      const known = context.second === undefined ? context.first.info.get(value)?.value : steadyValue(context, value);
      const size = Math.abs(known?.data[0] ?? 0);
      if (known?.data.length === 1 && Number.isInteger(size) && size > narrow) sizes.push({ node, value, size });
    }
  }
  return sizes;
}

/** The sizes of windows or blocks that constants on the way to the mask name. */
export function namedSizes(question: MaskQuestion): number[] {
  return windowSizes(question).map(({ size }) => size);
}

/**
 * A probe long enough to show windows that the mask may have, as far as evaluating it is affordable; undefined if the
 * other probes show them, or the graph cannot run longer. What is longer still is for {@link hiddenWindow}.
 *
 * @param groups batch and heads of the first probe together
 */
export function windowProbe(question: MaskQuestion, groups: number): GraphProbe | undefined {
  const { context, batchAt } = question;
  const shown = context.second?.sizes.length ?? context.first.sizes.length;
  const affordable = Math.floor(Math.sqrt(affordableLogits / (groups / batchAt(context.first))));
  const needed = namedSizes(question).map((size) => size + 3);
  const length = Math.max(0, ...needed.filter((size) => size <= affordable));
  return length > shown && context.second !== undefined ? probeAt(context, length) : undefined;
}

function probeAt(context: AttentionContext, length: number): GraphProbe | undefined {
  try {
    return graphProbe(context.graph, probe(context.graph.root, { ...context.first.sizes, batch: 1, length }));
  } catch (error) {
    if (error instanceof ShapeConflict) return undefined;
    throw error;
  }
}

/**
 * A node on the way to the mask that takes the logarithm of a length: a scale that grows with it, often beyond a length
 * that no evaluation reaches. Undefined if there is none.
 */
export function lengthLogarithm({ context, inputs }: MaskQuestion): NodeProto | undefined {
  const { first, second } = context;
  const nodes = [...ancestors(context.graph, inputs.values)];
  return nodes.find(({ opType, output }) => {
    const [one, two] = [first, second].map((at) => at?.info.get(output[0]!)?.value?.data);
    return opType === "Log" && one !== undefined && two !== undefined && one.join() !== two.join();
  });
}

/**
 * A window or block that no evaluation was long enough to show: a size on the way to the mask that changes the mask
 * when it is made narrow, or a constant mask that is not causal beyond what was seen. Undefined if there is none, or
 * the graph cannot run so long that it matters.
 *
 * @param lengths the longest at which rows of the mask were evaluated, and the longest at which all of it was
 * @param known the mask as it is known
 */
export function hiddenWindow(
  question: MaskQuestion,
  { seen, seenWhole }: { readonly seen: number; readonly seenWhole: number },
  known: MaskVerdict,
): Reason | undefined {
  const { context } = question;
  if (context.second === undefined) return undefined;
  for (const { node, value, size } of windowSizes(question)) {
    if (size + 1 < seen || !changesMask(question, value) || probeAt(context, size + 3) === undefined) continue;
    return reasonFor(
      "sliding-window",
      `The mask changes at a distance of ${size} positions (${describeNode(node)}): longer inputs meet a sliding window or blocks. Sums over keys cannot express it.`,
    );
  }
  for (const value of constantMasks(question, seenWhole)) {
    if (isKnownMask(context, value, known)) continue;
    return reasonFor(
      "sliding-window",
      `The constant mask "${value}" is neither causal nor empty as a whole: beyond the first ${seenWhole} positions it has a window, segments or a bias. Sums over keys cannot express that.`,
    );
  }
  return undefined;
}

/**
 * Whether the mask is another one at the first probe's length when `value` is replaced by a narrow size. A size
 * without which nothing fits together, such as a table's, bounds the length and is no window.
 */
function changesMask(question: MaskQuestion, value: string): boolean {
  try {
    return hasOtherWeights(question, value);
  } catch (error) {
    if (error instanceof EvaluationError) return false;
    throw error;
  }
}

function hasOtherWeights({ context, region, inputs, labels, random }: MaskQuestion, value: string): boolean {
  const { info } = context.first;
  // Everything is computed again from inputs and shapes, as what follows from shapes alone may depend on the size.
  const nodes = ancestors(context.graph, inputs.values);
  const values = new Map<string, Tensor>();
  const read = allRead(inputs.values, nodes);
  const evaluation = new RegionEvaluation(context, region, { ...inputs, nodes, read }, labels, {
    ...context.first,
    info: new Map(
      [...info].map(([name, shape]) => [name, isShapeOnly(context, name) ? shape : { ...shape, value: undefined! }]),
    ),
  });
  const known = info.get(value)!.value!;
  const narrowed = tensorOf(known.dataType, known.dims, [Math.sign(known.data[0]!) * narrow]);
  values.set(value, narrowed);
  return (["ones", "zeros"] as const).some((mode) => {
    const feeds = drawInputs(context, context.first, random, mode, read);
    const [before, after] = [feeds, new Map([...feeds, ...values])].map((given) =>
      uniformWeights(evaluation, evaluation.context(given)),
    ) as [Float64Array, Float64Array];
    return before.some((weight, i) => !Number.isNaN(weight) && !(Math.abs(weight - after[i]!) < 1e-6));
  });
}

/** Values that shape arithmetic begins with: constants, and the shapes themselves. */
function isShapeOnly({ graph }: AttentionContext, value: string): boolean {
  const node = graph.owner(value)?.producer(value);
  return node === undefined || ["Shape", "Size", "Constant"].includes(node.opType);
}

/** Constants [..., n, n] on the way to the mask that are longer than what was evaluated. */
function constantMasks({ context, region, inputs }: MaskQuestion, seen: number): string[] {
  const { graph } = context;
  const nodes = [...region.nodes, ...ancestors(graph, inputs.values)];
  // Its second output is a mask, its weights are none.
  const read = nodes.flatMap((node) => (node.opType === "EmbedLayerNormalization" ? [] : node.input));
  return [...new Set([...read, ...inputs.values])].filter((value) => {
    const dims = graph.isConstant(value) ? (graph.initializerShape(value)?.dims ?? []) : [];
    return dims.length >= 2 && dims.at(-1) === dims.at(-2) && dims.at(-1)! > seen;
  });
}

/**
 * Whether a constant mask keeps, for every query, all keys or those up to it, or those of the band; in either polarity. With
 * ALiBi it may hold distances, too.
 */
function isKnownMask({ graph }: AttentionContext, value: string, known: MaskVerdict): boolean {
  const { band, alibi } = known;
  const dims = graph.initializerShape(value)!.dims;
  if (dims.reduce((a, b) => a * b, 1) > largestConstant) return false;
  const table = decodeTensor(graph.constantProto(value)!);
  const { data } = table;
  const [rows, columns] = dims.slice(-2) as [number, number];
  const [low, high] = [data[columns - 1]!, data[(rows - 1) * columns]!];
  const allEqual = data.every((entry) => entry === low);
  if (allEqual || rows !== columns) return allEqual;
  const keeps = (kept: number, hidden: number, isKept: (query: number, key: number) => boolean): boolean =>
    data.every((entry, i) => entry === (isKept(Math.floor(i / columns) % rows, i % columns) ? kept : hidden));
  if (keeps(high, low, (query, key) => key <= query)) return true;
  if (alibi !== undefined) return holdsDistances(table, rows, isCausal(known));
  const inside = band && data[0]!;
  const outside = band && data.find((entry) => entry !== inside);
  return band !== undefined && keeps(inside!, outside!, (query, key) => isWithin(band, query, key));
}

/**
 * Whether each [n, n] of a table is linear in the distance between query and key, with a factor of its own; in causal
 * attention, only up to the query, behind which other numbers may hide keys.
 */
function holdsDistances({ data, dataType }: Tensor, n: number, causal: boolean): boolean {
  for (let from = 0; from < data.length; from += n * n) {
    const factor = data[from + n]! - data[from + n + 1]!;
    const rounding = tableRounding(dataType) * Math.abs(factor) * n;
    for (let query = 0; query < n; query++) {
      const row = from + query * n;
      const own = data[row + query]!;
      for (let key = 0; key < (causal ? query : n); key++) {
        const expected = factor * Math.abs(query - key);
        if (!(Math.abs(data[row + key]! - own - expected) <= rounding)) return false;
      }
    }
  }
  return true;
}

/** A type rounds a table of distances by less than so much of its largest entry. */
function tableRounding(dataType: number): number {
  if (dataType === DataType.BFLOAT16) return 2 ** -7;
  return dataType === DataType.FLOAT16 ? 2 ** -10 : 2 ** -21;
}
