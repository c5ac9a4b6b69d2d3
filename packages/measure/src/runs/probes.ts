import { InputError } from "@favor/checkpoints";
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

/**
 * Random token sequences that fit into one batch of the model.
 *
 * @param vocabulary - ids are smaller than this; default: the rows of the model's token embedding.
 * @param maximum - the longest input in tokens.
 */
export function probeSequences(
  vocabulary: number | undefined,
  maximum: number | undefined,
  runner: ModelRunner,
): number[][] {
  const rows = Math.min(vocabulary ?? Infinity, runner.feeding.vocabulary ?? Infinity);
  const ids = Number.isFinite(rows) ? rows : 2;
  const random = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
  const longest = Math.min(maximum ?? Infinity, runner.fixedLength ?? Infinity);
  // Without a mask nothing can be padded, so use one sequence, of the fixed length if there is one.
  const lengths = runner.takesMask ? probeLengths : [runner.fixedLength ?? probeLengths.at(-1)!];
  return lengths
    .slice(0, runner.fixedBatch)
    .map((length) => Array.from({ length: Math.min(length, longest) }, () => random.integer(ids)));
}

/** Checks that the inputs and outputs of both models have the same names and types. */
export function checkSignature(original: ModelRunner, converted: ModelRunner): Check {
  const [before, after] = [original.signature, converted.signature];
  const passed = before === after;
  const found = passed ? after : `${after}; the original has ${before}`;
  const except = converted.carriesState ? ", except for the state" : "";
  return { name: `inputs and outputs match the original's${except}`, passed, found };
}

/**
 * Checks that a sequence gives the same, finite outputs alone and padded in a batch. Where the original's outputs change
 * with padding too, the converted model's may change as much.
 *
 * @throws {InputError} `model-fails-to-run`, naming the original, if it is the original that gives NaN or infinity.
 */
export async function checkPadding(
  original: ModelRunner,
  converted: ModelRunner,
  sequences: readonly (readonly number[])[],
): Promise<Check> {
  const own = await paddingEffect(original, sequences);
  if (!Number.isFinite(own.scale)) {
    throw new InputError(
      `${original.path}, the original, gives NaN or infinity for random tokens, so no conversion of it can be checked. ` +
        `Check the original's weights, and whether it runs in float32.`,
      { code: "model-fails-to-run", details: { path: original.path } },
    );
  }
  const { scale, difference } = await paddingEffect(converted, sequences);
  const allowed = Math.max(paddingTolerance * scale, own.isPadded ? 2 * own.difference : 0);
  const found = `outputs up to ${scale.toPrecision(3)}, largest difference ${difference.toExponential(1)}`;
  const blame =
    own.difference > paddingTolerance * own.scale
      ? `; padding changes the original's outputs too, by ${own.difference.toExponential(1)}`
      : "";
  return {
    name: own.isPadded ? "padding changes nothing" : "outputs are finite",
    passed: Number.isFinite(scale) && difference <= allowed,
    found: `${found}${blame}`,
  };
}

/** The largest output, and the largest difference between sequences alone and padded in a batch. */
async function paddingEffect(
  runner: ModelRunner,
  sequences: readonly (readonly number[])[],
): Promise<{ readonly scale: number; readonly difference: number; readonly isPadded: boolean }> {
  const together = await runner.unpaddedOutputs(sequences);
  const alone: Float32Array[] = [];
  for (const sequence of sequences) alone.push((await runner.unpaddedOutputs([sequence]))[0]!);
  return {
    scale: largest(together.map((values) => largest(values))),
    difference: largestDifference(together, alone),
    isPadded: sequences.length > 1,
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
  // Outputs of thousands are rounded to a ten-thousandth at best.
  const scale = Math.max(1, largest(before.map((values) => largest(values))));
  return {
    name: "exact attention gives the original's outputs",
    passed: difference <= exactTolerance * scale,
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
