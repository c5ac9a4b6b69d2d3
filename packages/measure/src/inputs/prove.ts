import { stridesOf } from "@favor/onnx/evaluate";

import { fedBy } from "./candidates.ts";
import type { InputCandidates } from "./candidates.ts";
import { inputValues } from "./feeding.ts";
import type { FedInput, Feeding, InputAxis, OutputLayout } from "./feeding.ts";

/** Outputs of a run by name. */
type Outputs = Readonly<Record<string, { readonly dims: readonly number[]; readonly data: Float32Array }>>;

/** Runs the model and returns its outputs of floats and rank 2 or 3. */
export type RunOnce = (
  inputs: readonly { readonly input: FedInput; readonly dims: readonly number[]; readonly data: Float64Array }[],
  batch: number,
) => Promise<Outputs>;

export interface ProofQuestion {
  readonly candidates: readonly InputCandidates[];
  /** Token ids to draw from: at least two, none of which means padding. The last is fed first in every row. */
  readonly tokens: readonly number[];
  readonly padId: number;
  readonly firstPosition: number;
  readonly vocabulary: number | undefined;
  /** Whether the model quantises activations by their range. */
  readonly isDynamicallyQuantised: boolean;
  readonly run: RunOnce;
}

/** Sizes to try in turn; blocks of fixed size need 64 tokens. */
const sizesToTry = [
  { batch: 2, length: 7 },
  { batch: 2, length: 64 },
  { batch: 1, length: 7 },
  { batch: 1, length: 64 },
  { batch: 2, length: 4 },
] as const;

/** The most ways to feed a model that are tried. */
const mostTried = 300;

/** A hidden token may change other outputs by this much of what it changes them by when it counts: nothing. */
const hidden = 1e-3;
/** The same where a convolution carries a little of it on. */
const nearlyHidden = 0.1;
/** The same where numbers are quantised by the range of the whole batch: every token changes the rounding of all. */
const hiddenBelowRounding = 0.6;

/** A way replaces a likelier one if it leaks so many times less: smaller differences are rounding. */
const clearlyLess = 4;

interface Sizes {
  readonly batch: number;
  readonly length: number;
}

/** How far a way to feed the model is borne out by its outputs: 0 in full, and the share of what leaks otherwise. */
interface Trial {
  readonly inputs: readonly FedInput[];
  readonly leak: number;
  readonly sizes: Sizes;
  readonly outputs: ReadonlyMap<string, OutputLayout>;
  /** Masks that no output depends on. */
  readonly ineffective: ReadonlySet<FedInput>;
  /** Whether the last token changes nothing before it, as in causal models: padding after it does not either. */
  readonly isLastUnseen: boolean;
}

/** Why no way to feed a model is borne out. */
export type Unproved =
  /** It runs, but its outputs bear out none of the ways. */
  | { readonly unproved: "meaning" }
  /** Its outputs are NaN or infinite for ordinary tokens, however it is fed. */
  | { readonly unproved: "not finite" }
  /** It has no float32 output of rank 2 or 3. */
  | { readonly unproved: "no outputs" }
  | { readonly unproved: "does not run"; readonly failure: unknown };

/**
 * Finds the way to feed a model that its outputs bear out, by replacing one token. The other sequences of the batch must stay
 * as they are, and other positions of the same sequence must change. If a mask hides the token, only the output at its
 * position may change.
 *
 * @returns the likeliest way that is borne out
 */
export async function proveFeeding(question: ProofQuestion): Promise<Feeding | Unproved> {
  let failure: unknown;
  for (const sizes of sizesToTry) {
    let best: Trial | undefined;
    let [ran, wasFinite] = [false, false];
    for (const inputs of waysToFeed(question.candidates)) {
      const fitted = fittedSizes(question.candidates, inputs, sizes);
      if (fitted === undefined) continue;
      try {
        const trial = await tryOut(question, inputs, fitted);
        ran = true;
        if (trial === "no outputs") return { unproved: trial };
        if (trial !== "not finite") wasFinite = true;
        if (typeof trial === "string") continue;
        if (best === undefined || trial.leak < best.leak / clearlyLess) best = trial;
        if (trial.leak <= hidden) break;
      } catch (error) {
        failure ??= error;
      }
    }
    if (best !== undefined) return feedingOf(question, best);
    if (ran) return { unproved: wasFinite ? "meaning" : "not finite" };
  }
  return { unproved: "does not run", failure };
}

/** Every combination of choices, the likeliest first. */
function* waysToFeed(candidates: readonly InputCandidates[]): Generator<FedInput[]> {
  const ways = candidates.reduce((product, { choices }) => product * choices.length, 1);
  for (let way = 0; way < Math.min(ways, mostTried); way++) {
    let rest = way;
    const inputs = candidates.map((candidate) => {
      const choice = rest % candidate.choices.length;
      rest = Math.floor(rest / candidate.choices.length);
      return fedBy(candidate, choice);
    });
    yield inputs;
  }
}

/** The sizes that the fixed dimensions of the inputs leave; undefined if they contradict each other. */
function fittedSizes(
  candidates: readonly InputCandidates[],
  inputs: readonly FedInput[],
  sizes: Sizes,
): Sizes | undefined {
  const fixed = fixedSizes(candidates, inputs);
  if (fixed === undefined) return undefined;
  const { batch = sizes.batch, length = sizes.length } = fixed;
  return length < 3 ? undefined : { batch, length };
}

function fixedSizes(
  candidates: readonly InputCandidates[],
  inputs: readonly FedInput[],
): { batch: number | undefined; length: number | undefined } | undefined {
  const found: Partial<Record<InputAxis, number>> = {};
  for (const [i, { axes }] of inputs.entries()) {
    for (const [at, own] of axes.entries()) {
      const size = candidates[i]!.shape[at];
      if (typeof size !== "number" || size <= 0) continue;
      const axis = own === "query" ? "length" : own;
      if (axis !== "one" && (found[axis] ?? size) !== size) return undefined;
      found[axis] = size;
    }
  }
  return { batch: found.batch, length: found.length };
}

const isMask = ({ meaning }: FedInput): boolean => meaning.kind === "mask" || meaning.kind === "lengths";

async function tryOut(
  question: ProofQuestion,
  inputs: readonly FedInput[],
  sizes: Sizes,
): Promise<Trial | "no outputs" | "not finite" | "not borne out"> {
  const run = (edit: Edit): Promise<Outputs> => runEdited(question, inputs, sizes, edit);
  const most = question.isDynamicallyQuantised ? hiddenBelowRounding : nearlyHidden;
  const plain = await run({});
  if (Object.keys(plain).length === 0) return "no outputs";
  if (!isFinite(plain)) return "not finite";
  const outputs = layouts(plain, sizes, inputs);
  const leaks = new Map(inputs.filter(isMask).map((mask) => [mask, Infinity]));
  const last = sizes.length - 1;
  let mixes = false;
  let isLastUnseen = false;
  let leak = 0;
  // Padding is at the end. In a causal model nothing sees the last token, so the second is hidden as well.
  for (const at of [last, 1]) {
    const seen = differences(plain, await run({ at }), outputs, sizes, at);
    if (seen.otherRows > most * seen.others) return "not borne out";
    if (seen.others === 0) {
      isLastUnseen ||= at === last;
      continue;
    }
    mixes = true;
    leak = Math.max(leak, seen.otherRows / seen.others);
    for (const mask of leaks.keys()) {
      if (mask.meaning.kind === "lengths" && at !== last) continue;
      const [before, after] = [await run({ hide: mask, from: at }), await run({ hide: mask, from: at, at })];
      if (!isFinite(before) || !isFinite(after)) continue;
      const left = differences(before, after, outputs, sizes, at).shareOf(seen);
      leaks.set(mask, Math.min(leaks.get(mask)!, left));
    }
    if ([...leaks.values()].every((left) => left <= hidden)) break;
  }
  // Without mixing, both ways to lay out the ids give the same; one sequence alone says nothing of the axes then.
  if (!mixes && (leaks.size > 0 || sizes.batch === 1)) return "not borne out";
  const ineffective = new Set<FedInput>();
  for (const [mask, left] of leaks) {
    if (left <= most) {
      leak = Math.max(leak, left);
      continue;
    }
    const without = await run({ hide: mask, from: 1 });
    if (differences(plain, without, outputs, sizes, -1).all > 0) return "not borne out";
    ineffective.add(mask);
  }
  return { inputs, leak, sizes, outputs, ineffective, isLastUnseen: mixes && isLastUnseen };
}

interface Edit {
  /** Replaces this token of the first row. */
  readonly at?: number;
  /** Hides a token of the first row by this input: one of a mask, or the last of lengths. */
  readonly hide?: FedInput;
  readonly from?: number;
}

async function runEdited(
  { tokens, padId, firstPosition, run }: ProofQuestion,
  inputs: readonly FedInput[],
  { batch, length }: Sizes,
  { at, hide, from = 0 }: Edit,
): Promise<Outputs> {
  const few = tokens.slice(0, -1);
  const rows = Array.from({ length: batch }, (_, row) =>
    // The largest id stays where it is: CLIP pools there.
    Array.from({ length }, (__, place) =>
      place === 0 ? tokens.at(-1)! : few[(5 * row + 3 * place + place * place) % few.length]!,
    ),
  );
  if (at !== undefined) {
    const old = few.indexOf(rows[0]![at]!);
    rows[0]![at] = few[(old + 1 + Math.floor(few.length / 2)) % few.length]!;
  }
  const feeds = inputs.map((input) => {
    const values = inputValues(input, { rows, batch, length, padId, firstPosition });
    if (input === hide) hideInFirstRow(input, values, from);
    return { input, ...values };
  });
  return run(feeds, batch);
}

/** Hides one key of the first row from every query; by lengths, this key and all after it. */
function hideInFirstRow(
  { axes, meaning }: FedInput,
  { dims, data }: { readonly dims: readonly number[]; readonly data: Float64Array },
  key: number,
): void {
  if (meaning.kind === "lengths") data[0] = key;
  if (meaning.kind !== "mask") return;
  const strides = stridesOf(dims);
  const at = (axis: InputAxis, i: number): number => {
    const own = axes.indexOf(axis);
    return Math.floor(i / strides[own]!) % dims[own]!;
  };
  for (let i = 0; i < data.length; i++) if (at("batch", i) === 0 && at("length", i) === key) data[i] = meaning.hides;
}

function isFinite(outputs: Outputs): boolean {
  return Object.values(outputs).every(({ data }) => data.every(Number.isFinite));
}

function layouts(outputs: Outputs, { batch, length }: Sizes, inputs: readonly FedInput[]): Map<string, OutputLayout> {
  const ids = inputs.find(({ meaning }) => meaning.kind === "ids")!;
  const order: readonly OutputLayout[] =
    ids.axes[0] === "length" ? ["length first", "batch first"] : ["batch first", "length first"];
  const found = new Map<string, OutputLayout>();
  for (const [name, { dims }] of Object.entries(outputs)) {
    const fits = (layout: OutputLayout): boolean => {
      const [first, second] = layout === "batch first" ? [batch, length] : [length, batch];
      return dims[0] === first && dims[1] === second;
    };
    const layout = order.find(fits);
    if (layout !== undefined) found.set(name, layout);
    else if (dims[0] === batch) found.set(name, "pooled");
  }
  return found;
}

interface Difference {
  /** At other positions of the first row, and in what is pooled of it. */
  readonly others: number;
  readonly otherRows: number;
  readonly all: number;
  /** The share of another difference that this one is, for the output where it is largest. */
  shareOf(seen: Difference): number;
  readonly perOutput: ReadonlyMap<string, number>;
}

/** Compares two runs, leaving out the position `at` of the first row. */
function differences(
  a: Outputs,
  b: Outputs,
  outputs: ReadonlyMap<string, OutputLayout>,
  { batch, length }: Sizes,
  at: number,
): Difference {
  const perOutput = new Map<string, number>();
  let [otherRows, all] = [0, 0];
  for (const [name, layout] of outputs) {
    const [x, y] = [a[name]!.data, b[name]!.data];
    const width = x.length / batch / (layout === "pooled" ? 1 : length);
    let own = 0;
    for (let i = 0; i < x.length; i++) {
      const difference = Math.abs(x[i]! - y[i]!);
      if (!(difference > 0)) continue;
      const vector = Math.floor(i / width);
      const [row, position] =
        layout === "pooled"
          ? [vector, -1]
          : layout === "batch first"
            ? [Math.floor(vector / length), vector % length]
            : [vector % batch, Math.floor(vector / batch)];
      all = Math.max(all, difference);
      if (row > 0) otherRows = Math.max(otherRows, difference);
      else if (position !== at || layout === "pooled") own = Math.max(own, difference);
    }
    perOutput.set(name, own);
  }
  const others = Math.max(0, ...perOutput.values());
  const shareOf = (seen: Difference): number =>
    Math.max(
      0,
      ...[...perOutput].map(([name, own]) => (own === 0 ? 0 : own / (seen.perOutput.get(name)! || seen.others))),
    );
  return { others, otherRows, all, shareOf, perOutput };
}

async function feedingOf(question: ProofQuestion, trial: Trial): Promise<Feeding> {
  const { inputs, ineffective, isLastUnseen } = trial;
  const { batch, length } = fixedSizes(question.candidates, inputs)!;
  const takesMask = inputs.some((input) => isMask(input) && !ineffective.has(input));
  return {
    inputs,
    outputs: length === undefined ? await confirmLayouts(question, trial) : trial.outputs,
    takesMask,
    hidesPadding: takesMask || isLastUnseen || (length === undefined && (await paddingIdHides(question, trial))),
    fixedBatch: batch,
    fixedLength: length,
    vocabulary: question.vocabulary,
  };
}

/** An axis that happened to have the length's size, at another length, has it no more. */
async function confirmLayouts(
  question: ProofQuestion,
  { inputs, sizes, outputs }: Trial,
): Promise<ReadonlyMap<string, OutputLayout>> {
  for (const length of [sizes.length - 1, sizes.length * 2]) {
    try {
      const other = { batch: sizes.batch, length };
      const again = layouts(await runEdited(question, inputs, other, {}), other, inputs);
      return new Map([...outputs].map(([name, layout]) => [name, again.get(name) ?? layout]));
    } catch {
      // Blocks of fixed size: only multiples of them run.
    }
  }
  return outputs;
}

/**
 * Whether the padding id itself hides a token: behind a sequence, it changes next to nothing of what other tokens do.
 * Only in models of free length, which also run without it.
 */
async function paddingIdHides(
  { tokens, padId, firstPosition, run }: ProofQuestion,
  { inputs, sizes: { batch, length }, outputs }: Trial,
): Promise<boolean> {
  const sequence = Array.from({ length }, (_, at) => tokens[(3 * at) % tokens.length]!);
  /** The outputs at the positions of the sequence alone. */
  const before = async (behind: readonly number[]): Promise<number[]> => {
    const whole = length + behind.length;
    const given = { rows: [[...sequence, ...behind]], batch, length: whole, padId, firstPosition };
    const found = await run(
      inputs.map((input) => ({ input, ...inputValues(input, given) })),
      batch,
    );
    return [...outputs].flatMap(([name, layout]) => {
      const values = found[name]!.data;
      const width = values.length / batch / (layout === "pooled" ? 1 : whole);
      const apart = layout === "length first" ? batch * width : width;
      const vectors = Array.from({ length: layout === "pooled" ? 1 : length }, (_, at) => at * apart);
      return vectors.flatMap((at) => [...values.subarray(at, at + width)]);
    });
  };
  try {
    const alone = await before([]);
    const change = async (behind: readonly number[]): Promise<number> =>
      (await before(behind)).reduce((most, value, i) => Math.max(most, Math.abs(value - alone[i]!)), 0);
    const byPadding = await change([padId, padId]);
    return byPadding <= hidden * (await change([tokens[0]!, tokens[1]!]));
  } catch {
    return false;
  }
}
