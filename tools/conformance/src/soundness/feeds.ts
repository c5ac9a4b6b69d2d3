import { decodeModel, DataType, type ModelProto, type ValueInfoProto } from "@favor/onnx";
import type { NpyArray } from "@favor/test-support/zoo/npz";
import type { Choices } from "../fuzz/random.ts";
import type { Seed } from "./corpus.ts";
import { addedInputs } from "./disguises.ts";
import { numbersOf, tensorOfNumbers, type Feeds } from "./runtime.ts";

/** How the inputs of one comparison are drawn. */
interface Draw {
  /** Added to the sample's batch and lengths, where the model leaves them open. */
  readonly more: readonly [batch: number, length: number];
  /** Taken instead of the sample's, where the model leaves them open. */
  readonly size?: readonly [batch: number, length: number];
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

/** Lengths and batches at which what hides from short inputs shows; most models of a position table do not run there. */
const longer: readonly (readonly [batch: number, length: number])[] = [
  [1, 600],
  [1, 512],
  [1, 401],
  [2, 256],
  [3, 129],
  [2, 100],
];
/** As many items as heads, so that a mask may lie over either. */
const batches = [1, 2, 3, 4];

/** Inputs to compare two models on, and which positions they call real. */
export interface Trial {
  readonly feeds: Feeds;
  /** [batch, length] of the input that masks padding, if there is one. */
  readonly mask?: { readonly dims: readonly number[]; readonly values: readonly number[] };
}

/**
 * Several inputs for a model: other sizes where it leaves them open, padding, and larger numbers.
 *
 * @param changed the model with inputs that mutations added; these are fed as well, and the sizes go up to 600 tokens
 */
export function drawTrials(seed: Seed, choices: Choices, changed?: ModelProto): Trial[] {
  const model = decodeModel(seed.bytes);
  const short = draws.map((draw) => drawTrial(model, seed, draw, choices));
  if (changed === undefined) return short;
  const sizes = [choices.of(longer)!, [choices.of(batches)!, 33 + choices.below(60)] as const];
  const more = sizes.map((size, i): Draw => ({
    more: [0, 0],
    size,
    padding: i === 0 ? "last" : "suffix",
    magnitude: 1,
  }));
  const trials = [...short, ...more.map((draw) => drawTrial(model, seed, draw, choices))];
  const added = changed.graph.input.filter(({ name }) => names.has(name));
  return trials.map((trial) => ({ ...trial, feeds: { ...trial.feeds, ...feedAdded(added, trial, choices) } }));
}

const names = new Set<string>(Object.values(addedInputs));

/** Fractions for what multiplies, numbers from 0 on for segments and positions. */
function feedAdded(added: readonly ValueInfoProto[], { feeds, mask }: Trial, choices: Choices): Feeds {
  const content = Object.values(feeds).find(({ dims }) => dims.length >= 2)?.dims ?? [1, 1];
  const [batch, length] = (mask?.dims ?? content) as [number, number];
  const made = added.map(({ name, type }) => {
    const dims = type!.tensorType!.shape!.dim.map(({ dimValue }) => dimValue?.toNumber() ?? 1);
    if (name === addedInputs.headMask || name === addedInputs.temperature) {
      const numbers = Array.from({ length: dims[0]! }, () => choices.of([0.25, 0.5, 1, 1.5])!);
      return [name, tensorOfNumbers(DataType.FLOAT, dims, numbers)] as const;
    }
    // Some sequences of a packed row, one after the other; positions begin anew with each.
    const parts = 1 + choices.below(4);
    const width = Math.ceil(length / parts);
    const of = (i: number): number => (name === addedInputs.segments ? 1 + Math.floor(i / width) : 3 * (i % length));
    const numbers = Array.from({ length: batch * length }, (_, i) => of(i % length));
    return [name, tensorOfNumbers(DataType.INT64, [batch, length], numbers)] as const;
  });
  return Object.fromEntries(made);
}

const isMask = (name: string, { dims, dataType }: NpyArray): boolean =>
  /mask(?!_positions)|input_3/.test(name) && dims.length === 2 && dataType !== DataType.FLOAT;

function drawTrial(model: ModelProto, seed: Seed, draw: Draw, choices: Choices): Trial {
  const feeds: Record<string, Feeds[string]> = {};
  let mask: Trial["mask"];
  for (const [name, array] of seed.sample) {
    const info = model.graph.input.find((input) => input.name === name);
    const dims = array.dims.map((dim, axis) =>
      isOpen(info, axis) ? (draw.size?.[axis] ?? Math.max(1, dim + draw.more[axis === 0 ? 0 : 1])) : dim,
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
