import type { NodeProto } from "@favor/onnx";
import type { Reason } from "../refusals/reason.ts";
import type { Alibi } from "./alibi.ts";
import type { Band } from "./band.ts";
import type { AttentionContext } from "./context.ts";
import type { Product } from "./product.ts";

/**
 * What an axis of an operand ranges over. `batch-head` is batch and heads folded into one axis, batch slowest. `group` is
 * a second axis of heads, used when several query heads share a key head.
 */
export type AxisRole = "batch" | "head" | "group" | "batch-head" | "length" | "dim" | "head-dim" | "one";

/**
 * Where a query, key, value or output tensor lies in the graph and how its axes are to be read. Emitters bring it to
 * [batch, heads, length, dim].
 */
export interface Operand {
  readonly value: string;
  readonly roles: readonly AxisRole[];
  /**
   * The sizes of the two axes of heads, if the attention has two: heads, and groups per head. Head `h * groups + g` is
   * group g of h; an operand that lacks one of the axes shares it. Absent otherwise.
   */
  readonly groups?: readonly [heads: number, groups: number];
}

/** An additive mask keeps a key if it adds more than this. */
export const leastAdded = -1;

/** A value of size [batch, keys], axes of size 1 aside, that says which keys count. */
export interface KeyMask {
  readonly value: string;
  /** Roles of its axes: batch, length (the key's position), or one. */
  readonly roles: readonly ("batch" | "length" | "one")[];
  /** How to read it. `additive` is added to the logits: 0 keeps, a large negative number drops. */
  readonly rule: "nonzero keeps" | "zero keeps" | "additive";
  /** ONNX data type of the value. */
  readonly dataType: number;
}

type MaskKind = "none" | "padding" | "causal" | "padding and causal" | "band" | "padding and band" | "other";

/** What an attention's mask was proved to be, and how. */
export interface MaskVerdict {
  readonly kind: MaskKind;
  /** A sentence: what was evaluated or seen. */
  readonly evidence: string;
  /** For padding: where the graph itself holds which keys count. */
  readonly keyMask?: KeyMask;
  /** For a band: its ends. */
  readonly band?: Band;
  /** A bias that lies over the mask: keys fade with their distance from the query. */
  readonly alibi?: Alibi;
}

/** Whether no query attends to a key behind it. */
export function isCausal({ kind, band }: MaskVerdict): boolean {
  return kind === "causal" || kind === "padding and causal" || band?.after === 0;
}

/**
 * One softmax attention, independent of its exporter: out = softmax(logitScale * Q K^T + mask) V, the mask with its bias. Matchers make it and
 * emitters consume it; neither knows the other.
 */
export interface AttentionSite {
  /** 0-based, in the order of data flow. */
  readonly index: number;
  /** Number of attentions that this one depends on. Heads of one layer that are written separately share it. */
  readonly layer: number;
  readonly name: string;
  readonly kind: "self" | "cross";
  readonly heads: number;
  readonly keyValueHeads: number;
  /** Dimension of a query or key head. */
  readonly headDim: number;
  readonly valueDim: number;
  readonly query: Operand;
  readonly key: Operand;
  readonly value: Operand;
  /** The value to compute anew. */
  readonly output: Operand;
  /** ONNX data type of query, key and value. */
  readonly dataType: number;
  /** Multiplies q.k of the operands as they lie in the graph. */
  readonly logitScale: number;
  /** The factor by which the graph multiplies query and key between their projections and the operands. */
  readonly queryScale: number;
  readonly keyScale: number;
  readonly mask: MaskVerdict;
  readonly causal: boolean;
  /** The node whose output is replaced. */
  readonly outputNode: NodeProto;
}

/** An attention that was found but may not be replaced. */
export interface RefusedSite {
  readonly index: number;
  readonly layer: number;
  readonly name: string;
  readonly kind: "self" | "cross";
  /** 0 where unknown. */
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly mask: MaskVerdict;
  readonly causal: boolean;
  readonly reasons: readonly Reason[];
}

/** The product of an attention's weights (the rows of its softmax) and values. */
export interface WeightedSum {
  readonly product: Product;
  /** Which factor are the weights. */
  readonly side: "left" | "right";
  /** The logits, and everything made from them on the way to the weights. */
  readonly made: ReadonlySet<string>;
}

/**
 * Whether an attention can be computed by blocks of its queries, exactly and without a number for each query and key:
 * the product to compute so, or why not, as the end of a sentence that begins with "It is not exact by block, because".
 */
export type BlockVerdict =
  | { readonly sum: WeightedSum }
  /** With the values between the two products, if there are any. */
  | { readonly failure: string; readonly made?: ReadonlySet<string> };

/** What was found out about one attention, and the graph that it lies in: the main one, or a body of If, Loop or Scan. */
interface Finding {
  readonly context: AttentionContext;
  readonly blocks: BlockVerdict;
}

/** A site that linear attention may replace, or why it may not. Both may be exact by block. */
export type FoundSite = Finding & ({ readonly site: AttentionSite } | { readonly refused: RefusedSite });

/**
 * What can be done with an attention. A band is exact, too. With exact keys, the near field and a few chosen blocks of keys are
 * exact, and features estimate the others.
 */
export type Possibility = "linear" | "linear with exact keys" | "band" | "exact by block";
