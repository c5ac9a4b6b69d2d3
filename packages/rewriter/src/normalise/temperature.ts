import { matrixProducts } from "@favor/onnx/semantics";
import { ancestors, dataReaders } from "@favor/onnx/graph";
import { graphProbe, type GraphProbe } from "@favor/onnx/graph";
import { asProduct, productAxes, type Factor } from "../attention/product.ts";
import { bodies, isStandard } from "@favor/onnx/graph";
import { probePair } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";
import { NodeBuilder } from "@favor/onnx/graph";

/**
 * Moves factors of logits that differ from head to head (a learned temperature, `exp(logit_scale)` of shape [heads, 1, 1])
 * onto the queries:
 *
 *     t * (Q K^T) = (t * Q) K^T   for every t that is the same for all queries and keys of a head
 *
 * The rest is a softmax with one scale, which is the form that the proof expects. Single numbers stay where they are.
 */
export function moveTemperatures(graph: Graph): void {
  const graphs = [graph];
  // The list grows while it is walked.
  for (const at of graphs) for (const node of at.nodes) for (const body of bodies(node)) graphs.push(at.body(body));
  const scaled = graphs.flatMap((at) => scaledProducts(at).map((found) => ({ graph: at, found })));
  if (scaled.length === 0) return;
  const pair = probePair(graph);
  if ("conflict" in pair) return;
  for (const { graph: at, found } of scaled) {
    const probes = [pair.first, pair.second].flatMap((probe) => (probe ? [graphProbe(at, probe)] : []));
    if (probes.every((probe) => probe !== undefined)) moveAll(at, found, probes);
  }
}

/** A product of data, and what its result is multiplied or divided by on its way to a softmax. */
interface ScaledProduct {
  readonly node: NodeProto;
  readonly scalings: readonly Scaling[];
}

interface Scaling {
  readonly node: NodeProto;
  /** The input of the node that holds the factor. */
  readonly factor: string;
}

/** A Gemm has no heads for factors to differ by. */
const products: ReadonlySet<string> = new Set(["Einsum", ...matrixProducts]);
/** Nodes between logits and their softmax: scales, biases, masks. */
const between = new Set("Add Sub Mul Div Where Cast Identity Reshape Max Min Clip Unsqueeze Squeeze".split(" "));
/** The longest way through them. */
const longestWay = 12;

/** Finds scaled products by their wiring alone, so that a model without any needs no probing. */
function scaledProducts(graph: Graph): ScaledProduct[] {
  return graph.nodes.flatMap((product): ScaledProduct[] => {
    if (!products.has(product.opType) || product.input.slice(0, 2).some((name) => graph.isConstant(name))) return [];
    const scalings: Scaling[] = [];
    let value = product.output[0]!;
    for (let step = 0; step < longestWay; step++) {
      const [node, ...others] = dataReaders(graph, value);
      if (node === undefined || others.length > 0 || graph.isOutput(value) || !isStandard(node)) break;
      if (node.opType !== "Mul" && node.opType !== "Div") break;
      const factor = node.input[node.input[0] === value ? 1 : 0]!;
      if (factor === value || (node.opType === "Div" && node.input[0] !== value)) break;
      if (!isNumber(graph, factor)) scalings.push({ node, factor });
      value = node.output[0]!;
    }
    return scalings.length > 0 && leadsToSoftmax(graph, value) ? [{ node: product, scalings }] : [];
  });
}

/** Whether a value is a constant of one element. */
function isNumber(graph: Graph, value: string): boolean {
  const dims = graph.initializerShape(value)?.dims;
  return dims !== undefined && dims.every((dim) => dim === 1);
}

function leadsToSoftmax(graph: Graph, from: string): boolean {
  let values = [from];
  for (let step = 0; step < longestWay && values.length > 0; step++) {
    const readers = values.flatMap((value) => graph.consumers(value));
    if (readers.some(({ opType }) => opType === "Softmax" || opType === "Exp")) return true;
    values = readers.flatMap((node) => (between.has(node.opType) ? node.output : []));
  }
  return false;
}

const dimsAt = (value: string, probe: GraphProbe): readonly number[] | undefined => probe.info.get(value)?.dims;

function moveAll(graph: Graph, { node, scalings }: ScaledProduct, probes: readonly GraphProbe[]): void {
  const product = asProduct(node, (value) => dimsAt(value, probes[0]!)?.length);
  const axes = product && productAxes(product);
  if (product === undefined || axes?.left.length !== 1 || axes.right.length !== 1) return;
  const { left, output } = product;
  const { labels } = output;
  const shared = [...axes.batch].filter((label) => left.labels.includes(label));
  const side = node.input.indexOf(left.value);
  const build = new NodeBuilder(graph, "favor_temperature");
  for (const { node: scaling, factor } of scalings) {
    // The factor's axes are aligned with the last ones of the logits.
    const isTemperature = probes.every((probe) => {
      const [dims, logits] = [dimsAt(factor, probe), dimsAt(scaling.output[0]!, probe)];
      if (dims === undefined || logits?.length !== labels.length || dims.length > labels.length) return false;
      const own = labels.slice(labels.length - dims.length);
      return dims.some((dim) => dim !== 1) && dims.every((dim, at) => dim === 1 || shared.includes(own[at]!));
    });
    // A factor that is computed from the logits themselves is no temperature.
    if (!isTemperature || ancestors(graph, [factor]).has(node)) continue;
    const own = labels.slice(labels.length - dimsAt(factor, probes[0]!)!.length);
    const spread = underLabels(build, factor, own, left);
    node.input[side] = build.op(scaling.opType, [node.input[side]!, spread]);
    scaling.input = scaling.input.filter((value) => value !== factor);
    scaling.opType = "Identity";
  }
  build.commit();
  graph.reindex();
}

/** A value with these labels, its axes of size 1 among them, so that it multiplies a factor of a product. */
function underLabels(build: NodeBuilder, value: string, own: string, { labels }: Factor): string {
  const absent = [...own].flatMap((label, axis) => (labels.includes(label) ? [] : [axis]));
  const kept = [...own].filter((label) => labels.includes(label));
  const wanted = [...labels].filter((label) => kept.includes(label));
  const moved = build.transpose(
    build.squeeze(value, absent),
    wanted.map((label) => kept.indexOf(label)),
  );
  return build.unsqueeze(
    moved,
    [...labels].flatMap((label, axis) => (kept.includes(label) ? [] : [axis])),
  );
}
