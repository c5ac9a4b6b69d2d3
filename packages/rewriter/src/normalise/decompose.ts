import type { Graph } from "@favor/onnx/graph";
import { describeNode, isStandard } from "@favor/onnx/graph";
import type { ShapeInfo } from "@favor/onnx/graph";
import type { NodeProto, TensorProto } from "@favor/onnx";
import type { RefusalCode } from "../refusals/codes.ts";
import { reasonFor, type Reason } from "../refusals/reason.ts";
import { NodeBuilder } from "@favor/onnx/graph";
import type { FusedOperator, Writer } from "./fused-operator.ts";
import { writeGroupQueryAttention } from "./group-query-attention.ts";
import { writeMultiHeadAttention } from "./multi-head-attention.ts";
import { writePackedAttention } from "./packed-attention.ts";
import { writeStandardAttention } from "./standard-attention.ts";

/** Plain nodes that compute what a fused operator does. */
export interface Decomposed {
  readonly nodes: readonly NodeProto[];
  readonly initializers: readonly TensorProto[];
  /** The node of the product P.V. */
  readonly product: NodeProto;
}

const byName =
  (code: RefusalCode, what: string) =>
  (_build: NodeBuilder, { node }: FusedOperator): Reason =>
    reasonFor(code, `${describeNode(node)} ${what}.`);

const quantised = byName("quantized-attention", "is quantised attention in one operator");

const withCache = byName("kv-cache", "computes one token at a time over a key/value cache of softmax attention");
const withPacking = byName(
  "packed-sequences",
  "works on sequences that are packed without padding. Linear attention would need their bounds as a mask",
);

const microsoft: ReadonlyMap<string, Writer> = new Map<string, Writer>([
  ["Attention", writePackedAttention],
  ["MultiHeadAttention", writeMultiHeadAttention],
  ["GroupQueryAttention", writeGroupQueryAttention],
  ["QAttention", quantised],
  ["QOrderedAttention", quantised],
  ["QOrderedLongformerAttention", quantised],
  ["PackedAttention", withPacking],
  ["PackedMultiHeadAttention", withPacking],
  ["DecoderAttention", withCache],
  ["DecoderMaskedSelfAttention", withCache],
  ["DecoderMaskedMultiHeadAttention", withCache],
  ["PagedAttention", withCache],
  ["SparseAttention", byName("block-sparse", "lets a query attend only to some blocks of keys")],
  [
    "LongformerAttention",
    byName("sliding-window", "lets a query attend only to a window of keys and a few global ones"),
  ],
]);

function writerOf(node: NodeProto): Writer | undefined {
  if (isStandard(node)) return node.opType === "Attention" ? writeStandardAttention : undefined;
  return node.domain === "com.microsoft" ? microsoft.get(node.opType) : undefined;
}

/** Whether a node is a whole softmax attention by itself. */
export function isAttentionOperator(node: NodeProto): boolean {
  return writerOf(node) !== undefined;
}

/**
 * The plain form of an attention operator, or why there is none. Nothing is added to the graph.
 *
 * @param info shapes of the graph's values at the first probe
 */
export function decomposeAttention(
  graph: Graph,
  node: NodeProto,
  info: ReadonlyMap<string, ShapeInfo>,
): Decomposed | Reason {
  const build = new NodeBuilder(graph, node.name || node.opType);
  const has = (index: number): boolean => (node.input[index] ?? "") !== "";
  const made = writerOf(node)!(build, { node, has, input: (index) => info.get(node.input[index] ?? "") });
  return "code" in made ? made : { ...made, nodes: build.nodes, initializers: build.initializers };
}
