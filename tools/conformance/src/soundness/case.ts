import { convertAttention } from "@favor/rewriter";
import { DataType, decodeModel, encodeModel, type ModelProto } from "@favor/onnx";
import { FavorError } from "@favor/core";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { Choices } from "../fuzz/random.ts";
import { attendingTrials } from "./attending.ts";
import { Bench } from "./bench.ts";
import { valueShapes, type Seed, type ValueShape } from "./corpus.ts";
import { drawTrials, type Trial } from "./feeds.ts";
import { disguises } from "./disguises.ts";
import { broadcastings, maskings } from "./masks.ts";
import { fusedMutations } from "./fused.ts";
import { insertions } from "./insertions.ts";
import type { Mutation } from "./mutation.ts";
import { rewirings } from "./rewiring.ts";
import { changeAt, propertiesOf } from "./properties.ts";
import { openSession } from "./runtime.ts";
import { findSites } from "./sites.ts";
import { compareRuns } from "./compare.ts";
import { windowings } from "./windows.ts";
import { synonyms } from "./synonyms.ts";
import { sharpen } from "./sharpen.ts";

/** What became of one mutated model. */
export interface Outcome {
  readonly name: string;
  readonly mutations: readonly string[];
  /**
   * "invalid": onnxruntime does not run it; "refused": no attention of it is converted; "equal": those that are give
   * the same outputs; "unsound": they do not; "crash": an error that is none of Favor's. Of synonyms also "lost": fewer
   * sites are converted than before; "not a synonym": the outputs were others before anything was converted.
   */
  readonly result: "invalid" | "refused" | "equal" | "unsound" | "crash" | "lost" | "not a synonym";
  readonly detail: string;
  /** Largest difference relative to the outputs' scale. */
  readonly error: number;
}

/** Seeds whose values are known, by name. */
export class Corpus {
  readonly seeds: readonly Seed[];
  readonly #shapes = new Map<Seed, ReadonlyMap<string, ValueShape>>();

  constructor(seeds: readonly Seed[]) {
    this.seeds = seeds;
  }

  async shapesOf(seed: Seed): Promise<ReadonlyMap<string, ValueShape>> {
    let known = this.#shapes.get(seed);
    if (known !== undefined) return known;
    try {
      known = await valueShapes(seed);
    } catch {
      // onnxruntime has no kernels for bfloat16, and a case of no sites is none.
      known = new Map();
    }
    this.#shapes.set(seed, known);
    return known;
  }
}

/** Families of mutations; each is as likely as any other. */
const families: readonly (readonly Mutation[])[] = [
  insertions,
  insertions,
  maskings,
  broadcastings,
  disguises,
  disguises,
  disguises,
  rewirings,
  rewirings,
  rewirings,
  windowings,
  windowings,
];
/**
 * Tolerance, relative to the outputs' scale. Rounding to 16 or 8 bits enlarges the last digit of float32, and a mask
 * of -1e4 that hides all keys equally leaves logits in steps of 2^-10.
 */
const tolerances = { single: 3e-4, half: 2e-2, quantised: 1e-1 };

const roundsToHalf = ({ graph }: ModelProto): boolean =>
  graph.node.some(({ opType, attribute }) => opType === "Cast" && attribute[0]?.i.toNumber() === DataType.FLOAT16);

function toleranceOf(model: ModelProto, shapes: ReadonlyMap<string, ValueShape>): number {
  if (model.graph.node.some(({ opType }) => /Quantize|NBits|Integer/.test(opType))) return tolerances.quantised;
  const isHalf = [...shapes.values()].some(({ dataType }) => dataType === DataType.FLOAT16);
  return isHalf || roundsToHalf(model) ? tolerances.half : tolerances.single;
}

export interface MutatedCase {
  readonly seed: Seed;
  readonly mutations: readonly string[];
  readonly model: ModelProto;
  readonly trials: readonly Trial[];
}

/** The mutated model number `index`: it does not depend on what ran before. */
export async function makeCase(corpus: Corpus, seed: number, index: number): Promise<MutatedCase> {
  const choices = new Choices(seed, index);
  const chosen = choices.of(corpus.seeds)!;
  const bench = new Bench(decodeModel(chosen.bytes), await corpus.shapesOf(chosen), choices);
  sharpen(bench, choices.of([2, 5])!);
  const { mutations, model } = mutate(bench, families);
  return { seed: chosen, mutations, model, trials: drawTrials(chosen, choices, model) };
}

/** The same for changes that leave the computed values as they are. */
export async function makeSynonym(corpus: Corpus, seed: number, index: number): Promise<MutatedCase> {
  const choices = new Choices(seed, index);
  const chosen = choices.of(corpus.seeds)!;
  const bench = new Bench(decodeModel(chosen.bytes), await corpus.shapesOf(chosen), choices);
  return { seed: chosen, ...mutate(bench, synonyms), trials: drawTrials(chosen, choices) };
}

/** Applies one to three mutations. */
function mutate(bench: Bench, from: readonly (readonly Mutation[])[]): Pick<MutatedCase, "mutations" | "model"> {
  const { choices } = bench;
  const mutations: string[] = [];
  const count = choices.of([1, 1, 2, 2, 3])!;
  for (let tries = 0; tries < 12 && mutations.length < count; tries++) {
    const mutation = choices.of(choices.of(from)!)!;
    const site = choices.of(findSites(bench));
    if (site !== undefined && mutation.apply(bench, site)) mutations.push(mutation.name);
    const whole = from === families && site === undefined ? choices.of(fusedMutations)! : undefined;
    if (whole?.apply(bench) === true) mutations.push(whole.name);
  }
  bench.sort();
  return { mutations, model: bench.model };
}

/** Runs one case: mutates, converts with exact attention, which is written again, and compares in onnxruntime. */
export async function runCase(corpus: Corpus, seed: number, index: number): Promise<Outcome> {
  const { seed: chosen, mutations, model, trials } = await makeCase(corpus, seed, index);
  const { name } = chosen;
  if (mutations.length === 0) return { name, mutations, result: "invalid", detail: "nothing to mutate", error: 0 };
  const bytes = encodeModel(model);
  const before = await runAll(bytes, trials);
  if (typeof before === "string") return { name, mutations, result: "invalid", detail: before, error: 0 };
  // Dropout of training.
  const hasDropout = model.graph.node.some(({ opType }) => opType === "Dropout");
  if (hasDropout && differences(before, await runAll(bytes, trials), trials).error > 0) {
    return { name, mutations, result: "invalid", detail: "random", error: 0 };
  }
  const tolerance = toleranceOf(model, await corpus.shapesOf(chosen));
  const blocks = await differencesByBlock(bytes, before, trials, tolerance);
  if (blocks !== undefined && !(blocks.error <= tolerance)) {
    return { name, mutations, result: "unsound", detail: `by blocks: ${blocks.detail}`, error: blocks.error };
  }
  const made = convertExactly(bytes);
  if ("result" in made) return { name, mutations, ...made, error: 0 };
  const after = await runAll(made.bytes, trials);
  let compared = differences(before, after, trials);
  if (!(compared.error <= tolerance)) {
    const attending = await attendingTrials(bytes, trials);
    compared = differences(
      before.map((outputs, i) => (attending[i] ? outputs : undefined)),
      after,
      trials,
    );
    if (!attending.includes(true))
      return { name, mutations, result: "invalid", detail: "attends to nothing", error: 0 };
  }
  const { error, detail } = compared;
  const isEqual = error <= tolerance;
  const broken = isEqual && tolerance === tolerances.single ? await brokenProperty(bytes, trials, seed, index) : "";
  const result = isEqual && broken === "" ? "equal" : "unsound";
  return { name, mutations, result, detail: `${broken}${detail}; ${made.sites}`, error };
}

/** How far the model is from itself by blocks of queries, refused attention included; undefined if none can be. */
async function differencesByBlock(
  bytes: Uint8Array,
  before: readonly (Outputs | undefined)[],
  trials: readonly Trial[],
  tolerance: number,
): Promise<ReturnType<typeof differences> | undefined> {
  const made = convertExactly(bytes, "graph");
  if ("result" in made) return made.result === "refused" ? undefined : { error: Infinity, detail: made.detail };
  const after = await runAll(made.bytes, trials);
  const compared = differences(before, after, trials);
  if (compared.error <= tolerance) return compared;
  // Windows are computed from the keys within them: a row without any has no fallback to other keys.
  const attending = await attendingTrials(bytes, trials);
  const rows = before.map((outputs, i) => (attending[i] ? outputs : undefined));
  return attending.includes(true) ? differences(rows, after, trials) : undefined;
}

/**
 * What the model keeps to and its linear attention does not: padding that changes nothing, order, items that stand
 * alone. "" if there is nothing.
 */
async function brokenProperty(
  bytes: Uint8Array,
  trials: readonly Trial[],
  seed: number,
  index: number,
): Promise<string> {
  const trial = trials[1]!;
  const properties = propertiesOf(trial, new Choices(seed + 1, index));
  const runs = [trial, ...properties];
  const linear = encodeModel(convertAttention(decodeModel(bytes), { count: 16, cross: true }).model);
  const [softmax, favor] = [await runAll(bytes, runs), await runAll(linear, runs)];
  if (typeof softmax === "string" || softmax.includes(undefined)) return "";
  if (typeof favor === "string" || favor.includes(undefined))
    return `linear attention does not run: ${String(favor)}; `;
  return properties
    .map((property, i) => {
      const [own, ours] = [softmax, favor].map((found) => changeAt(property, trial, found[0]!, found[i + 1]!));
      return own! < 1e-5 && !(ours! < 1e-2)
        ? `${property.name} changes linear attention by ${ours!.toExponential(1)}; `
        : "";
    })
    .join("");
}

/** Runs one case of another way to write a model: outputs and the number of converted sites must stay. */
export async function runSynonym(corpus: Corpus, seed: number, index: number): Promise<Outcome> {
  const { seed: chosen, mutations, model, trials } = await makeSynonym(corpus, seed, index);
  const { name } = chosen;
  if (mutations.length === 0) return { name, mutations, result: "invalid", detail: "nothing to mutate", error: 0 };
  const bytes = encodeModel(model);
  const [before, after] = [await runAll(chosen.bytes, trials), await runAll(bytes, trials)];
  if (typeof before === "string" || typeof after === "string") {
    return { name, mutations, result: "invalid", detail: String(after), error: 0 };
  }
  const { error, detail } = differences(before, after, trials);
  const tolerance = toleranceOf(model, await corpus.shapesOf(chosen));
  if (!(error <= tolerance)) return { name, mutations, result: "not a synonym", detail, error };
  const [original, made] = [convertExactly(chosen.bytes), convertExactly(bytes)];
  const lost = ("converted" in original ? original.converted : 0) - ("converted" in made ? made.converted : 0);
  if ("result" in made && lost === 0) return { name, mutations, ...made, error };
  if (lost > 0) {
    const reason = "sites" in made ? made.sites : made.detail;
    return { name, mutations, result: "lost", detail: `${lost} sites: ${reason}`, error };
  }
  const compared = differences(after, await runAll((made as { bytes: Uint8Array }).bytes, trials), trials);
  return { name, mutations, result: compared.error <= tolerance ? "equal" : "unsound", ...compared };
}

type Converted = { readonly bytes: Uint8Array; readonly sites: string; readonly converted: number };
type NotConverted = { readonly result: "refused" | "crash"; readonly detail: string };

/** The model with its exact attention written again, from what was proved or from its own nodes, and a word about each of its sites. */
function convertExactly(bytes: Uint8Array, rows: "graph" | "proof" = "proof"): Converted | NotConverted {
  try {
    const { model, sites } = convertAttention(decodeModel(bytes), { features: "exact", rows, block: 5, cross: true });
    const words = sites.map(({ state, mask, causal, reasons }) =>
      [
        state,
        mask.kind,
        ...(causal ? ["causal"] : []),
        ...reasons.map(({ code, message }) => `${code}: ${message}`),
      ].join(" "),
    );
    const converted = sites.filter(({ state }) => state !== "unchanged").length;
    return { bytes: encodeModel(model), sites: words.join("; "), converted };
  } catch (error) {
    if (FavorError.isInstance(error))
      return { result: "refused", detail: `${error.code}: ${error.message.slice(0, 400)}` };
    return { result: "crash", detail: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

/** The largest difference over all trials, and that of each. */
function differences(
  before: readonly (Outputs | undefined)[],
  after: readonly (Outputs | undefined)[] | string,
  trials: readonly Trial[],
): { error: number; detail: string } {
  if (typeof after === "string") return { error: Infinity, detail: `does not run: ${after}` };
  const errors = trials.map((trial, i) => (before[i] === undefined ? 0 : compareRuns(before[i], after[i], trial)));
  return { error: Math.max(...errors), detail: errors.map((error) => error.toExponential(1)).join(" ") };
}

type Outputs = Readonly<Record<string, Tensor>>;

/** The outputs for each trial, undefined where the model does not run at its sizes; a sentence if it runs at none. */
async function runAll(
  model: Uint8Array,
  trials: readonly Pick<Trial, "feeds">[],
): Promise<(Outputs | undefined)[] | string> {
  let session: InferenceSession;
  try {
    session = await openSession(model);
  } catch (error) {
    return String(error).slice(0, 300);
  }
  const results: (Outputs | undefined)[] = [];
  let failure = "";
  for (const { feeds } of trials) {
    try {
      results.push(await session.run(feeds));
    } catch (error) {
      failure = String(error).slice(0, 300);
      results.push(undefined);
    }
  }
  await session.release();
  return results.every((result) => result === undefined) ? failure : results;
}
