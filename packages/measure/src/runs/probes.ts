import { RandomStream, streamPurpose } from "@favor/core";

import type { ModelRunner } from "./runner.ts";

/** One thing that was checked. */
export interface Check {
  readonly name: string;
  readonly passed: boolean;
  /** What was found. */
  readonly found: string;
}

/** Lengths of the probes: different, so that a batch of them pads all but one. */
const probeLengths = [5, 12, 31];

/** Allowed difference between padded and unpadded, as a share of the largest output: float32 sums in another order. */
const paddingTolerance = 1e-3;

/** Allowed difference between a sequence whole and in pieces, as a share of the largest output. */
const pieceTolerance = 1e-3;

/** Allowed difference between softmax attention and softmax attention emitted again. */
const exactTolerance = 1e-4;

/** Random token sequences that the model takes in one batch. */
export function probeSequences(vocabulary: number, maximum: number | undefined, runner: ModelRunner): number[][] {
  const random = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
  const longest = Math.min(maximum ?? Infinity, runner.fixedLength ?? Infinity);
  // Without a mask nothing can be padded: one sequence, of the length that the model may demand.
  const lengths = runner.takesMask ? probeLengths : [runner.fixedLength ?? probeLengths.at(-1)!];
  return lengths
    .slice(0, runner.fixedBatch)
    .map((length) => Array.from({ length: Math.min(length, longest) }, () => random.integer(vocabulary)));
}

/** Inputs and outputs of both models have the same names and types. */
export function checkSignature(original: ModelRunner, converted: ModelRunner): Check {
  const [before, after] = [original.signature, converted.signature];
  const passed = before === after;
  const found = passed ? after : `${after}; the original has ${before}`;
  const beside = converted.carriesState ? ", beside the state" : "";
  return { name: `inputs and outputs are the original's${beside}`, passed, found };
}

/** A sequence alone and the same sequence padded in a batch give the same, finite outputs. */
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

/** A stateful model gives the same for a sequence fed whole and in pieces, each from the state after the one before. */
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
    name: "pieces with the state between give the whole",
    passed: Number.isFinite(scale) && difference <= pieceTolerance * scale,
    found: `outputs up to ${scale.toPrecision(3)}, largest difference ${difference.toExponential(1)}`,
  };
}

/** Softmax attention emitted again gives the original's outputs. */
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

/** The largest absolute value; NaN if there is one. */
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
