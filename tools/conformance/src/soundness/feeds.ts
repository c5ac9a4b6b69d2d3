import { decodeModel, DataType, type ModelProto, type ValueInfoProto } from "@favor/onnx";
import type { NpyArray } from "@favor/test-support/zoo/npz";
import type { Choices } from "../fuzz/random.ts";
import type { Seed } from "./corpus.ts";
import { numbersOf, tensorOfNumbers, type Feeds } from "./runtime.ts";

/** How the inputs of one comparison are drawn. */
interface Draw {
  /** Added to the sample's batch and lengths, where the model leaves them open. */
  readonly more: readonly [batch: number, length: number];
  /**
   * Which positions are padding: the last, a suffix of each row, or any but the first. There is always some, as a mask
   * turned round would hide every key.
   */
  readonly padding: "last" | "suffix" | "scattered";
  readonly magnitude: number;
}

const draws: readonly Draw[] = [
  { more: [0, 0], padding: "last", magnitude: 1 },
  { more: [0, 0], padding: "suffix", magnitude: 3 },
  { more: [1, 7], padding: "scattered", magnitude: 1 },
  { more: [-1, -5], padding: "suffix", magnitude: 1 },
  { more: [2, 23], padding: "scattered", magnitude: 3 },
];

/** Inputs to compare two models on, and which positions they call real. */
export interface Trial {
  readonly feeds: Feeds;
  /** [batch, length] of the input that masks padding, if there is one. */
  readonly mask?: { readonly dims: readonly number[]; readonly values: readonly number[] };
}

/** Several inputs for a model: other sizes where it leaves them open, padding, and larger numbers. */
export function drawTrials(seed: Seed, choices: Choices): Trial[] {
  const model = decodeModel(seed.bytes);
  return draws.map((draw) => drawTrial(model, seed, draw, choices));
}

const isMask = (name: string, { dims, dataType }: NpyArray): boolean =>
  /mask(?!_positions)|input_3/.test(name) && dims.length === 2 && dataType !== DataType.FLOAT;

function drawTrial(model: ModelProto, seed: Seed, draw: Draw, choices: Choices): Trial {
  const feeds: Record<string, Feeds[string]> = {};
  let mask: Trial["mask"];
  for (const [name, array] of seed.sample) {
    const info = model.graph.input.find((input) => input.name === name);
    const dims = array.dims.map((dim, axis) =>
      isOpen(info, axis) ? Math.max(1, dim + draw.more[axis === 0 ? 0 : 1]) : dim,
    );
    const isPadding = isMask(name, array);
    const values = isPadding ? drawMask(dims, draw, choices) : drawValues(numbersOf(array), array, dims, draw, choices);
    feeds[name] = tensorOfNumbers(array.dataType, dims, values);
    if (isPadding) mask ??= { dims, values };
  }
  return { feeds, ...(mask && { mask }) };
}

/** Whether the size of an input's axis is for the caller to choose. */
function isOpen(info: ValueInfoProto | undefined, axis: number): boolean {
  const dim = info?.type?.tensorType?.shape?.dim[axis];
  return dim !== undefined && !dim.dimValue?.gt(0) && axis < 2;
}

function drawMask(dims: readonly number[], { padding }: Draw, choices: Choices): number[] {
  const [rows, width] = dims as [number, number];
  return Array.from({ length: rows }, () => {
    const kept = padding === "last" ? width - 1 : 1 + choices.below(width - 1);
    const keeps = (i: number): boolean => i === 0 || (padding === "scattered" ? choices.chance(0.6) : i < kept);
    return Array.from({ length: width }, (_, i) => Number(keeps(i)));
  }).flat();
}

/** Numbers like the sample's: positions stay in order, tokens come from its range, floats from its own. */
function drawValues(
  sample: readonly number[],
  { dims: sampled, dataType }: NpyArray,
  dims: readonly number[],
  { magnitude }: Draw,
  choices: Choices,
): number[] {
  const count = dims.reduce((a, b) => a * b, 1);
  const width = sampled.at(-1) ?? 1;
  if (dims.length < 2 && dataType !== DataType.FLOAT) return sample.slice(0, count);
  if (dataType === DataType.FLOAT) return Array.from({ length: count }, () => magnitude * choices.of(sample)!);
  if (width > 2 && sample.every((value, i) => value === i % width)) {
    return Array.from({ length: count }, (_, i) => i % dims.at(-1)!);
  }
  // A token that no mutation hides begins each row: rows that attend to nothing may be anything.
  const first = sample.filter((value) => value > 3 && value < 17);
  const last = dims.at(-1)!;
  return Array.from({ length: count }, (_, i) => (i % last === 0 && choices.of(first)) || choices.of(sample)!);
}
