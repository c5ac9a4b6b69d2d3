import { FavorError } from "@favor/core";
import { convertAttention, inspectAttention } from "@favor/rewriter";
import { decodeModel, encodeModel } from "@favor/onnx";
import type { Seed } from "./corpus.ts";
import { mutateBytes } from "./mutate-bytes.ts";
import { mutateModel } from "./mutate-model.ts";
import { Choices } from "./random.ts";

/** What became of one mutated model. */
export interface Outcome {
  /** The model it was made of. */
  readonly name: string;
  readonly kind: "bytes" | "model";
  /** "inspected", or the code of the error that refused it; "crash" for an error that is none of Favor's. */
  readonly result: string;
  /** The stack of a crash. */
  readonly stack?: string;
  /** The smaller of wall and processor time. */
  readonly seconds: number;
}

/** The mutated model number `index` of a seed: it does not depend on what ran before. */
export function makeCase(
  corpus: readonly Seed[],
  seed: number,
  index: number,
): { name: string; kind: Outcome["kind"]; bytes: Uint8Array } {
  const choices = new Choices(seed, index);
  // Small models are as hard to read as large ones, and quicker.
  const weights = corpus.map(({ bytes }) => 1 / bytes.length);
  const [{ name, bytes }, other] = [corpus[choices.weighted(weights)]!, choices.of(corpus)!];
  if (choices.chance(0.4)) return { name, kind: "bytes", bytes: mutateBytes(bytes, other.bytes, choices) };
  const model = decodeModel(bytes);
  mutateModel(model, choices);
  return { name, kind: "model", bytes: encodeModel(model) };
}

/** Decodes and inspects the case; with `convert` it is converted too. */
export function runCase(corpus: readonly Seed[], seed: number, index: number, convert: boolean): Outcome {
  const made = makeCase(corpus, seed, index);
  const { name, kind, bytes } = made;
  const wall = performance.now();
  const before = process.cpuUsage();
  let found: Pick<Outcome, "result" | "stack">;
  try {
    const model = decodeModel(bytes);
    inspectAttention(model);
    if (convert) encodeModel(convertAttention(model, { count: 8, maxLength: 128 }).model);
    found = { result: "inspected" };
  } catch (error) {
    found = FavorError.isInstance(error)
      ? { result: error.code }
      : { result: "crash", stack: error instanceof Error ? (error.stack ?? String(error)) : String(error) };
  }
  const { user, system } = process.cpuUsage(before);
  return { name, kind, ...found, seconds: Math.min((performance.now() - wall) / 1e3, (user + system) / 1e6) };
}
