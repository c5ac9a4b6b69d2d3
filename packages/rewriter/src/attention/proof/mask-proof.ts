import { EvaluationLimitError, type Tensor } from "@favor/onnx/evaluate";
import { DataType } from "@favor/onnx";
import type { AttentionContext } from "../context.ts";
import { ancestors, readsData, type GraphProbe } from "@favor/onnx/graph";
import { findKeyMask, type KeyMaskSample } from "./key-mask.ts";
import { classifyMask, type MaskKindFound } from "./mask-pattern.ts";
import type { MaskSample } from "./mask-sample.ts";
import { findAlibi, type AlibiPattern } from "./alibi-pattern.ts";
import { preciseSlopes } from "./alibi-slopes.ts";
import type { Region } from "../wiring/region.ts";
import { contradiction, rowTolerance } from "./confirm-mask.ts";
import type { OtherSizes } from "./other-sizes.ts";
import { drawInputs, type DrawMode } from "./probing-inputs.ts";
import { RegionEvaluation, regionInputs, uniformWeights } from "./region-evaluation.ts";
import { reasonFor, type Reason } from "../../refusals/reason.ts";
import { describeAlibi } from "../alibi.ts";
import { describeBand, widthOf, type Band } from "../band.ts";
import type { KeyMask, MaskVerdict } from "../site.ts";
import { comparedPosition, sizeDependence } from "./shape-dependence.ts";
import { unknownData } from "./mask-data.ts";
import { largestOffset, softmaxLaw, type LawShape } from "./softmax-law.ts";
import { wideBand } from "./wide-band.ts";
import { hiddenWindow, lengthLogarithm, windowProbe, type MaskQuestion } from "./window-proof.ts";

export interface MaskProof {
  /** What the region multiplies the logits by. */
  readonly scale: number;
  readonly mask: MaskVerdict;
  readonly reasons: readonly Reason[];
}

/** Why a region is no softmax of its logits, and what helps if it is not another checkpoint. */
export interface Unproved {
  readonly failure: string;
  readonly remedy?: string;
}

/** Different random inputs tried at the first probe's length. */
const draws = 4;

/**
 * Proves that a region is a softmax and says what its mask is, by evaluating it on random logits and inputs at
 * several lengths; or says what it is instead.
 */
export function proveMask(question: MaskQuestion, sizes: OtherSizes): MaskProof | Unproved {
  const { context, region, inputs, labels, random } = question;
  const fed = overridable(question);
  if (fed !== undefined) {
    const found = `The mask or scale depends on "${fed}", a default that whoever runs the model may feed otherwise.`;
    const mask: MaskVerdict = { kind: "other", evidence: "not examined" };
    return { scale: 1, mask, reasons: [reasonFor("mask-changes", found)] };
  }
  const first = new RegionEvaluation(context, region, inputs, labels, context.first);
  const samples: Sample[] = [];
  let scale: number | undefined;
  const tolerance = toleranceOf(context, region);
  /** Evaluates the region on one input; says why where it is no softmax there. */
  const prove = (evaluation: RegionEvaluation, probe: GraphProbe, mode: DrawMode): Unproved | undefined => {
    const values = evaluation.context(drawInputs(context, probe, random, mode, evaluation.read));
    if (mode !== "mixed" && isLarge(evaluation.shape)) {
      const weights = uniformWeights(evaluation, values);
      samples.push({ mask: { ...evaluation.shape, weights }, values, probe, mode });
      return undefined;
    }
    const run = (logits: Float64Array): Float64Array => evaluation.probabilities(logits, values);
    // A mask of -1e4 that hides everything rounds the logits coarsely; the law itself is proved on mixed inputs.
    const isMixed = mode === "mixed";
    const offset = isMixed && tolerance === singleTolerance ? largestOffset : 0;
    const law = softmaxLaw(evaluation.shape, run, random, isMixed ? tolerance : 50 * tolerance, offset);
    if ("failure" in law) return isMixed || tolerance === singleTolerance ? law : lostInRounding;
    if (scale !== undefined && law.scale !== undefined && Math.abs(law.scale - scale) > 1e-2 * Math.abs(scale)) {
      return { failure: unsteadyScale };
    }
    scale ??= law.scale;
    samples.push({ mask: { ...evaluation.shape, weights: law.weights }, values, probe, mode });
    return undefined;
  };
  for (const mode of modesFor(first.shape, draws)) {
    const unproved = prove(first, context.first, mode);
    if (unproved !== undefined) return unproved;
  }
  if (scale === undefined) return { failure: "the probabilities do not depend on the logits" };
  if (!everyRowSeen(samples) || !samples.some((sample) => sample.mode === "mixed" && isTelling(sample))) {
    return { failure: "some queries attend to nothing, or equally to all keys, for any logits" };
  }
  const lengths = [context.first.sizes.length];
  const evaluated = [first.shape.keys];
  /** Evaluates the region at the sizes of one more probe; says why where it is no softmax there. */
  const proveAt = (probe: GraphProbe): Unproved | undefined => {
    const evaluation = new RegionEvaluation(context, region, regionInputs(context, region, probe), labels, probe);
    for (const mode of modesFor(evaluation.shape, 1)) {
      const unproved = prove(evaluation, probe, mode);
      if (unproved !== undefined) return unproved;
    }
    lengths.push(probe.sizes.length);
    evaluated.push(evaluation.shape.keys);
    return undefined;
  };
  const unproved = context.second && proveAt(context.second);
  if (unproved !== undefined) return unproved;
  const longer = windowProbe(question, first.shape.groups);
  const unprovedBeyond = longer && affordably(context, () => proveAt(longer));
  if (unprovedBeyond !== undefined) return unprovedBeyond;
  const evidence = `evaluated on ${samples.length} inputs with ${evaluated.join(", ")} keys`;
  const found = precise(question, sizes, verdict(question, samples, evidence, tolerance));
  // After the masks that have a name: the buckets of T5's bias are logarithms of distances.
  if (found.reasons.length === 0 && lengthLogarithm(question) !== undefined) return { failure: unsteadyScale };
  if (found.reasons.length > 0) return { scale, ...found };
  const dependence = sizeDependence(question);
  if (dependence !== undefined) {
    const what = `The number "${dependence}", which the attention is computed with, depends on the length or the batch.`;
    return { scale, mask: found.mask, reasons: [reasonFor("mask-changes", what)] };
  }
  const position = comparedPosition(question);
  if (position !== undefined) {
    const what = `The mask compares single positions with ${position}, beyond those that Favor looks at one by one.`;
    return { scale, mask: found.mask, reasons: [reasonFor("mask-changes", what)] };
  }
  const unknown = unknownData(question, found.mask);
  if (unknown !== undefined) return { scale, mask: found.mask, reasons: [unknown] };
  const rowsWithin = rowTolerance(typesOf(context, region));
  // The patches of an image are not as many as the text is long.
  const seen = context.first.sizes.side === undefined ? [...lengths, sizes.longest] : evaluated;
  /** What speaks against a mask at longer inputs; undefined if nothing does. */
  const against = (mask: MaskVerdict): Omit<MaskProof, "scale"> | undefined => {
    const contradicted = contradiction(question, sizes, { scale: scale!, mask, tolerance: rowsWithin });
    if (contradicted !== undefined) return { mask, reasons: [contradicted] };
    const beyond = mask.band === undefined ? [] : sizes.beyond(widthOf(mask.band));
    const longest = Math.max(...seen, ...beyond.map(({ sizes: { length } }) => length));
    const window = hiddenWindow(question, { seen: longest, seenWhole: Math.max(...evaluated) }, mask);
    return window && { mask: { kind: "other", evidence: window.message }, reasons: [window] };
  };
  const contradicted = against(found.mask);
  if (contradicted === undefined) return { scale, ...found };
  const isPlain = found.mask.band === undefined && found.mask.alibi === undefined;
  const band = isPlain ? wideBand(question, sizes) : undefined;
  const windowed = band && withBand(found.mask, band, evidence);
  if (windowed !== undefined && against(windowed) === undefined) return { scale, mask: windowed, reasons: [] };
  return { scale, ...contradicted };
}

interface Verdict {
  readonly mask: MaskVerdict;
  readonly reasons: readonly Reason[];
}

/** A verdict whose slopes, if it has any, have the digits that a long input shows. */
function precise(question: MaskQuestion, sizes: OtherSizes, found: Verdict): Verdict {
  const { alibi } = found.mask;
  if (alibi === undefined) return found;
  sizes.reach(question.region.output.node);
  const slopes = preciseSlopes(question, alibi, sizes.probes[0]);
  return { ...found, mask: { ...found.mask, alibi: { ...alibi, slopes } } };
}

/** The mask of short inputs with the window that longer ones show. */
function withBand({ kind, keyMask }: MaskVerdict, band: Band, evidence: string): MaskVerdict | undefined {
  if ((band.after === 0) !== (kind === "causal" || kind === "padding and causal")) return undefined;
  const seen = `${describeBand(band)}${keyMask ? `, as far as "${keyMask.value}" says that keys count (${keyMask.rule})` : ""}`;
  return {
    kind: keyMask === undefined ? "band" : "padding and band",
    evidence: `${seen}; ${evidence}, and rows of longer inputs`,
    ...(keyMask && { keyMask }),
    band,
  };
}

/**
 * What an evaluation finds; undefined where it takes more operations than are left. These are charged to the confirming,
 * which looks at single rows of inputs as long.
 */
function affordably<Found>({ spent, confirming }: AttentionContext, evaluate: () => Found): Found | undefined {
  const before = spent.operations;
  try {
    return evaluate();
  } catch (error) {
    if (!(error instanceof EvaluationLimitError && error.details["limit"] === "operations")) throw error;
    confirming.operations += spent.operations - before;
    spent.operations = before;
    return undefined;
  }
}

/** A default on the way to the mask, or in the region, that is an input too; its shape alone does not count. */
function overridable({ context: { graph }, region, inputs }: MaskQuestion): string | undefined {
  const nodes = [...region.nodes, ...ancestors(graph, inputs.values)];
  const read = [...inputs.values, ...nodes.flatMap((node) => [...readsData(node)])];
  return read.find((value) => graph.isOverridable(value));
}

const unsteadyScale = "the logits are scaled by something that depends on the input or its length";
/** Of 16 bits, where a mask is the same for all keys: if it hid none, the law would hold as on mixed inputs. */
const lostInRounding: Unproved = {
  failure:
    "where a mask of about -1e4 hides all keys, floats of 16 bits have steps of 8 or more, in which the logits and the " +
    "bias are lost",
  remedy: "Convert the float32 model (--dtype fp32 if the checkpoint has both).",
};

interface Sample {
  readonly mask: MaskSample;
  readonly values: ReadonlyMap<string, Tensor>;
  readonly probe: GraphProbe;
  readonly mode: DrawMode;
}

/** Evaluations of logits beyond this many are few, and mixed inputs alone prove the law. */
const manyLogits = 1 << 17;

/**
 * The inputs to evaluate a mask on. Where nothing is padding, or everything is, causal order and windows show without
 * it; the first is enough where there are many logits.
 */
function modesFor(shape: LawShape, mixed: number): DrawMode[] {
  if (isLarge(shape)) return ["mixed", "ones"];
  return [...Array.from({ length: mixed }, (): DrawMode => "mixed"), "ones", "zeros"];
}

const isLarge = ({ groups, queries, keys }: LawShape): boolean => groups * queries * keys > manyLogits;

/** Whether each query of each head attended to something, by the law, in one sample at least. */
function everyRowSeen(samples: readonly Sample[]): boolean {
  const { groups, queries, keys } = samples[0]!.mask;
  return Array.from({ length: groups * queries }, (_, row) => row).every((row) =>
    samples.some(({ mask: { weights } }) => !Number.isNaN(weights[row * keys]!)),
  );
}

/** A mask of -1e4 leaves logits a step of 2^-10, and a probability half of that times p (1 - p) on both sides. */
const singleTolerance = 5e-4;

/** Types that the logits take on their way to the probabilities. */
function typesOf(
  context: AttentionContext,
  { logits, nodes }: Pick<Region, "logits" | "nodes">,
): Set<number | undefined> {
  const values = [logits.output.value, ...nodes.flatMap((node) => node.output)];
  return new Set(values.map((value) => context.first.info.get(value)?.dataType));
}

/** The rounding of the coarsest type that the logits take on their way to the probabilities. */
function toleranceOf(context: AttentionContext, { logits, nodes }: Region): number {
  const types = typesOf(context, { logits, nodes });
  if (types.has(DataType.BFLOAT16)) return 1e-1;
  return types.has(DataType.FLOAT16) ? 2e-2 : singleTolerance;
}

function verdict(question: MaskQuestion, all: readonly Sample[], evidence: string, tolerance: number): Verdict {
  const { batchAt } = question;
  const telling = all.filter(isTelling);
  const hiding = telling.filter(({ mask }) => mask.weights.some((weight) => !(weight > 1 - 1e-6)));
  const samples = hiding.length > 0 ? hiding : telling;
  const pattern = classifyMask(
    samples.map(({ mask }) => mask),
    tolerance,
  );
  switch (pattern.kind) {
    case "none":
      return { mask: { kind: "none", evidence: `every query attends to every key, ${evidence}` }, reasons: [] };
    case "causal":
      return { mask: { kind: "causal", evidence: `query i attends to the keys up to i, ${evidence}` }, reasons: [] };
    case "other": {
      const withAlibi = alibiVerdict(question, telling, evidence, tolerance);
      if (withAlibi !== undefined) return withAlibi;
      return {
        mask: { kind: "other", evidence: `${pattern.message}, ${evidence}` },
        reasons: [reasonFor(pattern.found, sentences(pattern.found, pattern.message))],
      };
    }
    case "band":
      return {
        mask: { kind: "band", evidence: `${describeBand(pattern.band)}, ${evidence}`, band: pattern.band },
        reasons: [],
      };
    case "padding":
    case "padding and causal":
    case "padding and band": {
      const free = telling.filter((sample) => sample.mode === "mixed" && !hiding.includes(sample));
      const keeping = free.map((sample) => {
        const { groups, keys } = sample.mask;
        return keySampleOf(sample, new Uint8Array(groups * keys).fill(1), batchAt);
      });
      const keyMask = keyMaskOf(question, samples, pattern.keep, keeping);
      const who = {
        padding: "the same keys count for every query",
        "padding and causal": "query i attends to those keys up to i that count",
        "padding and band": `${"band" in pattern ? describeBand(pattern.band) : ""}, as far as keys count`,
      }[pattern.kind];
      const mask: MaskVerdict = {
        kind: pattern.kind,
        evidence: `${who}${keyMask ? `, as "${keyMask.value}" says (${keyMask.rule})` : ""}; ${evidence}`,
        ...(keyMask && { keyMask }),
        ...("band" in pattern && { band: pattern.band }),
      };
      if (keyMask !== undefined) return { mask, reasons: [] };
      return { mask, reasons: [noKeyMask()] };
    }
  }
}

/** Where the graph holds which keys count, by what each sample keeps and by others that keep everything. */
function keyMaskOf(
  { context, batchAt }: MaskQuestion,
  samples: readonly Sample[],
  keep: readonly Uint8Array[],
  keeping: readonly KeyMaskSample[] = [],
): KeyMask | undefined {
  const keySamples = samples.map((sample, i) => keySampleOf(sample, keep[i]!, batchAt));
  const dropping = keySamples.filter((sample) => sample.keep.includes(0) && sample.keep.includes(1));
  // What holds the mask also says so where a random input happens to drop nothing: no causal mask hides that.
  const full = keySamples.filter((sample, i) => samples[i]!.mode === "mixed" && !sample.keep.includes(0));
  return findKeyMask(context, dropping, [...full, ...keeping]);
}

/** ALiBi over one of the masks that linear attention knows; undefined if the bias is none. */
function alibiVerdict(
  question: MaskQuestion,
  samples: readonly Sample[],
  evidence: string,
  tolerance: number,
): Verdict | undefined {
  const given = samples.map(({ mask, probe, mode }) => ({
    mask,
    batch: question.batchAt(probe),
    isMixed: mode === "mixed",
  }));
  const pattern: AlibiPattern | undefined = findAlibi(given, tolerance);
  if (pattern === undefined) return undefined;
  const { alibi, causal, keep } = pattern;
  const isPadded = keep.some((kept) => kept.includes(0));
  const kind = isPadded ? (causal ? "padding and causal" : "padding") : causal ? "causal" : "none";
  const keyMask = isPadded ? keyMaskOf(question, samples, keep) : undefined;
  const who = `${describeAlibi(alibi)}${keyMask ? `, of keys that count as "${keyMask.value}" says (${keyMask.rule})` : ""}`;
  const mask: MaskVerdict = {
    kind,
    evidence: `${who}; ${causal ? "query i attends to the keys up to i, " : ""}${evidence}`,
    ...(keyMask && { keyMask }),
    alibi,
  };
  if (isPadded && keyMask === undefined) return { mask, reasons: [noKeyMask()] };
  return { mask, reasons: [] };
}

function noKeyMask(): Reason {
  const found = "The mask depends on the key alone, but no value of shape [batch, length] in the graph holds it.";
  return reasonFor("key-mask-not-found", found);
}

function keySampleOf(
  { mask: { groups, keys }, values, probe }: Sample,
  keep: Uint8Array,
  batchAt: MaskQuestion["batchAt"],
): KeyMaskSample {
  return { values, keep, groups, keys, batch: batchAt(probe) };
}

/**
 * Whether a sample says something about the mask. It does not if a group attends to nothing at all, or if the input is
 * all padding, whose rows attend to nothing or fall back to all keys.
 */
function isTelling({ mask: { weights, groups, queries, keys }, mode }: Sample): boolean {
  const group = queries * keys;
  if (mode !== "mixed") return !weights.some(Number.isNaN);
  return Array.from({ length: groups }, (_, g) => g).every((g) =>
    weights.subarray(g * group, (g + 1) * group).some((weight) => !Number.isNaN(weight)),
  );
}

function sentences(found: MaskKindFound, message: string): string {
  const sentence = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  // Sums over keys could weigh them; nothing writes such masks yet.
  return found === "weighted-keys" ? sentence : `${sentence} Sums over keys cannot express it.`;
}
