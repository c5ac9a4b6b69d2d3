import type { Tensor } from "../evaluate/tensor.ts";
import { DataType } from "../model/proto.ts";
import type { AttentionContext, GraphProbe } from "./context.ts";
import { findKeyMask, type KeyMaskSample } from "./key-mask.ts";
import { classifyMask, type MaskSample } from "./mask-pattern.ts";
import type { Region } from "./region.ts";
import { drawInputs } from "./probing-inputs.ts";
import { RegionEvaluation, regionInputs, uniformWeights } from "./region-evaluation.ts";
import type { MaskVerdict, Reason } from "./site.ts";
import { softmaxLaw } from "./softmax-law.ts";
import { hiddenWindow, windowProbe, type MaskQuestion } from "./window-proof.ts";

export interface MaskProof {
  /** What the region multiplies the logits by. */
  readonly scale: number;
  readonly mask: MaskVerdict;
  readonly reasons: readonly Reason[];
}

/** Different random inputs tried at the first probe's length. */
const draws = 4;

/**
 * Proves that a region is a softmax and says what its mask is, by evaluating it on random logits and inputs at
 * several lengths; or says what it is instead.
 */
export function proveMask(question: MaskQuestion): MaskProof | { readonly failure: string } {
  const { context, region, inputs, labels, random } = question;
  const first = new RegionEvaluation(context, region, inputs, labels, context.first);
  const samples: Sample[] = [];
  let scale: number | undefined;
  const tolerance = toleranceOf(context, region);
  /** Proves the law for one mixed input; the failure, if it fails. */
  const proveLaw = (evaluation: RegionEvaluation, probe: GraphProbe): { failure: string } | undefined => {
    const values = evaluation.context(drawInputs(context, probe, random, "mixed"));
    const law = softmaxLaw(evaluation.shape, (logits) => evaluation.probabilities(logits, values), random, tolerance);
    if ("failure" in law) return law;
    if (scale !== undefined && Math.abs(law.scale - scale) > 1e-2 * Math.abs(scale)) {
      return { failure: "the logits are scaled by something that depends on the input or its length" };
    }
    scale ??= law.scale;
    samples.push({ mask: { ...evaluation.shape, weights: law.weights }, values, probe });
    return undefined;
  };
  for (let draw = 0; draw < draws; draw++) {
    const failure = proveLaw(first, context.first);
    if (failure !== undefined) return failure;
  }
  const longer = windowProbe(question, first.shape.groups);
  const lengths = [context.first.sizes.length];
  for (const other of [context.first, context.second, longer]) {
    if (other === undefined) continue;
    const evaluation =
      other === context.first
        ? first
        : new RegionEvaluation(context, region, regionInputs(context, region, other), labels, other);
    // Where nothing is padding, or everything is, causal order and windows show without it.
    if (other === context.second) {
      const failure = proveLaw(evaluation, other);
      if (failure !== undefined) return failure;
    }
    for (const mode of ["ones", "zeros"] as const) {
      const values = evaluation.context(drawInputs(context, other, random, mode));
      const weights = uniformWeights(evaluation, values);
      // Where all keys are masked many exporters' rows fall back to all of them, which says nothing.
      if (weights.every((weight) => weight > 1 - 1e-6)) continue;
      samples.push({ mask: { ...evaluation.shape, weights }, values, probe: other });
    }
    if (other !== context.first) lengths.push(other.sizes.length);
  }
  const evidence = `evaluated on ${samples.length} inputs at ${lengths.length > 1 ? "lengths" : "length"} ${lengths.join(", ")}`;
  const window = hiddenWindow(question, Math.max(...lengths));
  if (window !== undefined) {
    return { scale: scale!, mask: { kind: "other", evidence: window.message }, reasons: [window] };
  }
  return { scale: scale!, ...verdict(question, samples, evidence) };
}

interface Sample {
  readonly mask: MaskSample;
  readonly values: ReadonlyMap<string, Tensor>;
  readonly probe: GraphProbe;
}

/** fp16 and bf16 logits carry their own rounding. */
function toleranceOf(context: AttentionContext, region: Region): number {
  const type = context.first.info.get(region.logits.output.value)?.dataType;
  if (type === DataType.FLOAT16) return 2e-2;
  return type === DataType.BFLOAT16 ? 1e-1 : 2e-4;
}

function verdict(
  { context, batchAt }: MaskQuestion,
  all: readonly Sample[],
  evidence: string,
): { mask: MaskVerdict; reasons: Reason[] } {
  // A sample in which some group attends to nothing at all says nothing of the others.
  const samples = all.filter(({ mask }) => !hasEmptyGroup(mask));
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
        batch: batchAt(at),
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

function hasEmptyGroup({ weights, groups, queries, keys }: MaskSample): boolean {
  return Array.from({ length: groups }, (_, g) => g).some((g) => {
    const own = weights.subarray(g * queries * keys, (g + 1) * queries * keys);
    return own.every((weight) => Number.isNaN(weight));
  });
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
