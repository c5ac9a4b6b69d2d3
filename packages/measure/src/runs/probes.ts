import { RandomStream, streamPurpose } from "@favor/core";

import type { ModelRunner } from "./runner.ts";

/** A check and its result. */
export interface Check {
  readonly name: string;
  readonly passed: boolean;
  /** What was found. */
  readonly found: string;
}

/** Different lengths, so that a batch of all probes pads all but one. */
const probeLengths = [5, 12, 31];

/** Allowed difference between padded and unpadded, relative to the largest output: float32 sums in a different order. */
const paddingTolerance = 1e-3;

/** Allowed difference between a sequence fed whole and in pieces, relative to the largest output. */
const pieceTolerance = 1e-3;

/** Allowed difference between exact attention and the original's softmax attention. */
const exactTolerance = 1e-4;

/** Random token sequences that fit into one batch of the model. */
export function probeSequences(vocabulary: number, maximum: number | undefined, runner: ModelRunner): number[][] {
  const random = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
  const longest = Math.min(maximum ?? Infinity, runner.fixedLength ?? Infinity);
  // Without a mask nothing can be padded, so use one sequence, of the fixed length if there is one.
  const lengths = runner.takesMask ? probeLengths : [runner.fixedLength ?? probeLengths.at(-1)!];
  return lengths
    .slice(0, runner.fixedBatch)
    .map((length) => Array.from({ length: Math.min(length, longest) }, () => random.integer(vocabulary)));
}

/** Checks that the inputs and outputs of both models have the same names and types. */
export function checkSignature(original: ModelRunner, converted: ModelRunner): Check {
  const [before, after] = [original.signature, converted.signature];
  const passed = before === after;
  const found = passed ? after : `${after}; the original has ${before}`;
  const except = converted.carriesState ? ", except for the state" : "";
  return { name: `inputs and outputs match the original's${except}`, passed, found };
}

/** Checks that a sequence gives the same, finite outputs alone and padded in a batch. */
export async function checkPadding(runner: ModelRunner, sequences: readonly (readonly number[])[]): Promise<Check> {
  const together = await runner.unpaddedOutputs(sequences);
  const alone: Float32Array[] = [];
  for (const sequence of sequences) alone.push((await runner.unpaddedOutputs([sequence]))[0]!);
  const scale = largest(together.map((values) => largest(values)));
  const difference = largestDifference(together, alone);
  return {
    name: sequences.length > 1 ? "padding changes nothing" : "outputs are finite",
    passed: Number.isFinite(scale) && difference <= paddingTolerance * scale,
    found: `outputs up to ${scale.toPrecision(3)}, largest difference ${difference.toExponential(1)}`,
  };
}

/** Checks that a stateful model gives the same outputs for a sequence fed whole and in pieces. */
export async function checkPieces(runner: ModelRunner, sequences: readonly (readonly number[])[]): Promise<Check> {
  const sequence = sequences.toSorted((a, b) => b.length - a.length)[0]!;
  const first = Math.ceil(sequence.length / 2);
  const [whole] = await runner.unpaddedOutputs([sequence]);
  const pieces = await runner.outputsInPieces(
    sequence,
    [first, 1, sequence.length - first - 1].filter((length) => length > 0),
  );
  const scale = largest(whole!);
  const difference = largestDifference([whole!], [pieces]);
  return {
    name: "feeding in pieces gives the same as feeding whole",
    passed: Number.isFinite(scale) && difference <= pieceTolerance * scale,
    found: `outputs up to ${scale.toPrecision(3)}, largest difference ${difference.toExponential(1)}`,
  };
}

/** Checks that exact attention gives the original's outputs. */
export async function checkSoftmaxEquality(
  original: ModelRunner,
  converted: ModelRunner,
  sequences: readonly (readonly number[])[],
): Promise<Check> {
  const before = await original.unpaddedOutputs(sequences);
  const difference = largestDifference(before, await converted.unpaddedOutputs(sequences));
  return {
    name: "exact attention gives the original's outputs",
    passed: difference <= exactTolerance,
    found: `largest difference ${difference.toExponential(1)}`,
  };
}

/** The largest absolute value; NaN if any value is. */
function largest(values: ArrayLike<number>): number {
  let found = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]!);
    if (!(size <= found)) found = size;
    if (Number.isNaN(size)) return size;
  }
  return found;
}

function largestDifference(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  return largest(a.map((values, i) => largest(values.map((value, j) => value - (b[i]![j] ?? Number.NaN)))));
}
