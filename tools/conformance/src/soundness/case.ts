import { convertAttention, decodeModel, encodeModel, type ModelProto } from "@favor/onnx";
import { FavorError } from "@favor/core";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { Choices } from "../fuzz/random.ts";
import { Bench } from "./bench.ts";
import { valueShapes, type Seed, type ValueShape } from "./corpus.ts";
import { drawTrials, type Trial } from "./feeds.ts";
import { broadcastings, maskings } from "./masks.ts";
import { insertions } from "./insertions.ts";
import type { Mutation } from "./mutation.ts";
import { rewirings } from "./rewiring.ts";
import { openSession } from "./runtime.ts";
import { findSites } from "./sites.ts";
import { compareRuns } from "./compare.ts";
import { sharpen } from "./sharpen.ts";

/** What became of one mutated model. */
export interface Outcome {
  readonly name: string;
  readonly mutations: readonly string[];
  /**
   * "invalid": onnxruntime does not run it; "refused": no attention of it is converted; "equal": those that are give
   * the same outputs; "unsound": they do not; "crash": an error that is none of Favor's.
   */
  readonly result: "invalid" | "refused" | "equal" | "unsound" | "crash";
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
    const known = this.#shapes.get(seed) ?? (await valueShapes(seed));
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
  rewirings,
  rewirings,
  rewirings,
];
/** Of the outputs' scale. */
const tolerance = 1e-4;

export interface MutatedCase {
  readonly seed: Seed;
  readonly mutations: readonly string[];
  readonly model: ModelProto;
  readonly trials: readonly Trial[];
}

/** The mutated model number `index`: the same whatever ran before. */
export async function makeCase(corpus: Corpus, seed: number, index: number): Promise<MutatedCase> {
  const choices = new Choices(seed, index);
  const chosen = choices.of(corpus.seeds)!;
  const bench = new Bench(decodeModel(chosen.bytes), await corpus.shapesOf(chosen), choices);
  sharpen(bench, choices.of([2, 5])!);
  const mutations: string[] = [];
  const count = choices.of([1, 1, 2, 2, 3])!;
  for (let tries = 0; tries < 12 && mutations.length < count; tries++) {
    const mutation = choices.of(choices.of(families)!)!;
    const site = choices.of(findSites(bench));
    if (site !== undefined && mutation.apply(bench, site)) mutations.push(mutation.name);
  }
  bench.sort();
  return { seed: chosen, mutations, model: bench.model, trials: drawTrials(chosen, choices) };
}

/** Runs one case: mutates, converts to exact attention written again, and compares in onnxruntime. */
export async function runCase(corpus: Corpus, seed: number, index: number): Promise<Outcome> {
  const {
    seed: { name },
    mutations,
    model,
    trials,
  } = await makeCase(corpus, seed, index);
  const outcome = (result: Outcome["result"], detail: string, error: number = 0): Outcome => ({
    name,
    mutations,
    result,
    detail,
    error,
  });
  if (mutations.length === 0) return outcome("invalid", "nothing to mutate");
  const bytes = encodeModel(model);
  const before = await runAll(bytes, trials);
  if (typeof before === "string") return outcome("invalid", before);
  let converted: Uint8Array;
  let detail: string;
  try {
    const { model: made, sites } = convertAttention(decodeModel(bytes), { features: "exact", cross: true });
    converted = encodeModel(made);
    detail = sites
      .map(
        ({ state, mask, causal, reasons }) =>
          `${state} ${mask.kind}${causal ? "!" : ""} ${reasons.map(({ code }) => code).join("+")}`,
      )
      .join("; ");
  } catch (error) {
    return FavorError.isInstance(error)
      ? outcome("refused", `${error.code}: ${error.message.slice(0, 300)}`)
      : outcome("crash", error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  const after = await runAll(converted, trials);
  if (typeof after === "string") return outcome("unsound", `does not run: ${after}; ${detail}`, Infinity);
  const errors = trials.map((trial, i) => (before[i] === undefined ? 0 : compareRuns(before[i], after[i], trial)));
  const error = Math.max(...errors);
  return outcome(
    error <= tolerance ? "equal" : "unsound",
    `${errors.map((e) => e.toExponential(1)).join(" ")}; ${detail}`,
    error,
  );
}

export type Outputs = Readonly<Record<string, Tensor>>;

/** The outputs for each trial, undefined where the model does not run at its sizes; a sentence if it runs at none. */
async function runAll(model: Uint8Array, trials: readonly Trial[]): Promise<(Outputs | undefined)[] | string> {
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
