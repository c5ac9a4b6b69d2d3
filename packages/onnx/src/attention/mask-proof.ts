import type { Tensor } from "../evaluate/tensor.ts";
import { DataType, type NodeProto } from "../model/proto.ts";
import { probe } from "../graph/probe.ts";
import { ShapeConflict } from "../graph/shape-info.ts";
import { graphProbe, type AttentionContext, type GraphProbe } from "./context.ts";
import { findKeyMask, type KeyMaskSample } from "./key-mask.ts";
import { classifyMask, type MaskSample } from "./mask-pattern.ts";
import { batchSizeOf } from "./operand-roles.ts";
import type { Region } from "./region.ts";
import { drawInputs, RegionEvaluation, type RegionInputs, type RegionLabels } from "./region-evaluation.ts";
import type { MaskVerdict, Reason } from "./site.ts";
import { softmaxLaw } from "./softmax-law.ts";

export interface MaskProof {
  /** What the region multiplies the logits by. */
  readonly scale: number;
  readonly mask: MaskVerdict;
  readonly reasons: readonly Reason[];
}

/** Different inputs tried at the first probe's length. */
const draws = 4;
/** Longest length at which a mask is evaluated to see a window that shorter ones do not show. */
const longestProbe = 1_100;

/**
 * Proves that a region is a softmax and says what its mask is, by evaluating it on random logits and inputs at
 * several lengths; or says what it is instead.
 */
export function proveMask(
  context: AttentionContext,
  region: Region,
  inputs: RegionInputs,
  labels: RegionLabels,
  random: () => number,
): MaskProof | { readonly failure: string } {
  const first = new RegionEvaluation(context, region, inputs, labels, context.first);
  const samples: { mask: MaskSample; values: ReadonlyMap<string, Tensor>; probe: GraphProbe }[] = [];
  let scale: number | undefined;
  for (let draw = 0; draw < draws; draw++) {
    const values = first.context(drawInputs(context, context.first, random));
    const law = softmaxLaw(
      first.shape,
      (logits) => first.probabilities(logits, values),
      random,
      toleranceOf(context, region),
    );
    if ("failure" in law) return law;
    if (scale !== undefined && Math.abs(law.scale - scale) > 1e-2 * Math.abs(scale)) {
      return { failure: "the logits are scaled by something that depends on the input" };
    }
    scale ??= law.scale;
    samples.push({ mask: { ...first.shape, weights: law.weights }, values, probe: context.first });
  }
  const lengths = [context.first.sizes.length];
  for (const other of [context.second, windowProbe(context, inputs)]) {
    if (other === undefined) continue;
    const evaluation = new RegionEvaluation(context, region, inputs, labels, other);
    const values = evaluation.context(drawInputs(context, other, random));
    samples.push({ mask: { ...evaluation.shape, weights: uniformWeights(evaluation, values) }, values, probe: other });
    lengths.push(other.sizes.length);
  }
  const evidence = `evaluated on ${samples.length} random inputs at ${lengths.length > 1 ? "lengths" : "length"} ${lengths.join(", ")}`;
  return { scale: scale!, ...verdict(context, samples, evidence) };
}

/** fp16 and bf16 logits carry their own rounding. */
function toleranceOf(context: AttentionContext, region: Region): number {
  const type = context.first.info.get(region.logits.output.value)?.dataType;
  if (type === DataType.FLOAT16) return 2e-2;
  return type === DataType.BFLOAT16 ? 1e-1 : 2e-4;
}

/** Weights without a proof of the law: the probabilities at logits of zero, relative to the largest of the row. */
function uniformWeights(evaluation: RegionEvaluation, values: ReadonlyMap<string, Tensor>): Float64Array {
  const { groups, queries, keys } = evaluation.shape;
  const weights = evaluation.probabilities(new Float64Array(groups * queries * keys), values);
  for (let at = 0; at < weights.length; at += keys) {
    const row = weights.subarray(at, at + keys);
    const largest = row.reduce((a, b) => Math.max(a, b), 0);
    row.forEach((weight, k) => (row[k] = largest > 0 ? weight / largest : Number.NaN));
  }
  return weights;
}

function verdict(
  context: AttentionContext,
  samples: readonly { mask: MaskSample; values: ReadonlyMap<string, Tensor>; probe: GraphProbe }[],
  evidence: string,
): { mask: MaskVerdict; reasons: Reason[] } {
  const pattern = classifyMask(samples.map(({ mask }) => mask));
  switch (pattern.kind) {
    case "none":
      return { mask: { kind: "none", evidence: `every query attends to every key, ${evidence}` }, reasons: [] };
    case "causal":
      return { mask: { kind: "causal", evidence: `query i attends to the keys up to i, ${evidence}` }, reasons: [] };
    case "other":
      return {
        mask: { kind: "other", evidence: `${pattern.message}, ${evidence}` },
        reasons: [{ code: pattern.found, message: capital(pattern.message) + "." }],
      };
    case "padding":
    case "padding and causal": {
      const keySamples = samples.map(({ mask, values, probe: at }, i): KeyMaskSample => ({
        values,
        keep: pattern.keep[i]!,
        groups: mask.groups,
        keys: mask.keys,
        batch: batchSizeOf(context, at),
      }));
      const telling = keySamples.filter(({ keep }) => keep.includes(0) && keep.includes(1));
      const keyMask = findKeyMask(context, telling);
      const who =
        pattern.kind === "padding"
          ? "the same keys count for every query"
          : "query i attends to those keys up to i that count";
      const mask: MaskVerdict = {
        kind: pattern.kind,
        evidence: `${who}${keyMask ? `, as "${keyMask.value}" says (${keyMask.rule})` : ""}; ${evidence}`,
        ...(keyMask && { keyMask }),
      };
      if (keyMask !== undefined) return { mask, reasons: [] };
      const message = "The mask depends on the key alone, but no value of size [batch, length] in the graph holds it.";
      return { mask, reasons: [{ code: "key-mask-not-found", message }] };
    }
  }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const windowOperators = new Set("Less LessOrEqual Greater GreaterOrEqual Sub Add Clip Min Max Trilu".split(" "));

/**
 * A probe long enough to show any window that the mask may have: longer than every constant that its operators
 * compare or shift positions by, and than every side of a constant mask. Undefined if the graph cannot run longer
 * than it was probed, so that such a window can never matter.
 */
function windowProbe(context: AttentionContext, inputs: RegionInputs): GraphProbe | undefined {
  const shortest = context.second?.sizes.length ?? context.first.sizes.length;
  let needed = 0;
  for (const node of inputs.nodes) for (const size of windowSizes(context, node)) needed = Math.max(needed, size + 3);
  if (needed <= shortest || context.second === undefined) return undefined;
  // The longest length up to the needed one that the graph can run at, by bisection: tables bound it.
  let low = shortest;
  let high = Math.min(needed, longestProbe);
  let found: GraphProbe | undefined = tryProbe(context, high);
  if (found !== undefined) return found;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const attempt = tryProbe(context, middle);
    if (attempt === undefined) high = middle;
    else {
      low = middle;
      found = attempt;
    }
  }
  return found;
}

function tryProbe(context: AttentionContext, length: number): GraphProbe | undefined {
  try {
    return graphProbe(context.graph, probe(context.graph.root, { ...context.first.sizes, batch: 1, length }));
  } catch (error) {
    if (error instanceof ShapeConflict) return undefined;
    throw error;
  }
}

function windowSizes(context: AttentionContext, node: NodeProto): number[] {
  const sizes: number[] = [];
  for (const input of node.input) {
    const constant = context.graph.isConstant(input) ? context.graph.initializerShape(input) : undefined;
    const long = constant?.dims.filter((dim) => dim > 1) ?? [];
    if (long.length >= 2) sizes.push(Math.min(...long) - 3);
    if (!windowOperators.has(node.opType)) continue;
    const value = context.graph.constant(input);
    if (value?.data.length === 1) sizes.push(Math.abs(value.data[0]!));
  }
  return sizes.filter((size) => Number.isInteger(size) && size >= 2 && size <= 8_192);
}
