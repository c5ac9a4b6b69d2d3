import { FavorError } from "@favor/core";
import { DataType } from "@favor/onnx";
import { EvaluationLimitError, type Tensor } from "@favor/onnx/evaluate";
import { ancestors, type Graph, type GraphProbe } from "@favor/onnx/graph";
import { steadyValue } from "../context.ts";
import { reasonFor, type Reason } from "../../refusals/reason.ts";
import { alibiPositions, type Alibi } from "../alibi.ts";
import { isWithin, widthOf, type Band } from "../band.ts";
import { isCausal, leastAdded, type KeyMask, type MaskVerdict } from "../site.ts";
import { InputDraws, type Draw } from "./input-draws.ts";
import { describeDifference } from "./mask-difference.ts";
import type { OtherSizes } from "./other-sizes.ts";
import { allRead, regionInputs } from "./region-evaluation.ts";
import { TooLargeToSample } from "./sampled-evaluation.ts";
import { sampleRows } from "./sampled-rows.ts";
import type { MaskQuestion } from "./window-proof.ts";

/** What a region was found to be on short inputs. */
export interface ShortVerdict {
  /** What the logits are multiplied by. */
  readonly scale: number;
  readonly mask: MaskVerdict;
  /** Largest sum of differences along a row of probabilities. */
  readonly tolerance: number;
}

/** Queries that are looked at, at each size, besides those that a constant of the graph names. */
const queriesSeen = 10;
/** Logits of one head up to which all queries are looked at once. */
const fewLogits = 2 ** 18;
/** Constants of the graph that are taken for positions. */
const constantsSeen = 16;
/** Numbers of a constant that names positions; longer ones are tables. */
const mostNamed = 16;
/** Logits within +-4 of each other give every key a share; those within +-20 show a soft cap. */
const amplitudes = { shares: 4, caps: 20 };
const boundingOperators = new Set(["Clip", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min"]);
/** Logits of more than this arise nowhere, and float32 rounds them by more than a probability may differ. */
const largestBound = 1e3;
/** Tolerance of a probability in float32. */
const singleTolerance = 5e-5;
/** float32 rounds a bias of slope times distance, and the logits beside it, by so much of the largest. */
const singleRounding = 2 ** -21;
/** Where 16 bits hold a bias beyond this for all keys of a row that are looked at, they round it by more than tells anything. */
const largestHalfBias = 16;
/** Smaller shares of a row are not looked at one by one. */
const leastShare = 1e-9;
/** Extra inputs so that every row of the largest table is looked up. */
const mostTableDraws = 80;

/**
 * Holds a verdict on a mask against the graph at other lengths, batches and inputs: a few rows of the probabilities must
 * be those of the softmax that would take its place. Windows, blocks, scales and biases that are wider than the inputs
 * on which the verdict was found show here, and so do inputs that do more than hide keys.
 *
 * @returns what contradicts the verdict; undefined if nothing does
 */
export function contradiction(question: MaskQuestion, sizes: OtherSizes, verdict: ShortVerdict): Reason | undefined {
  sizes.reach(question.region.output.node);
  const confirmation = new Confirmation(question, verdict);
  const [longest, ...others] = sizes.probes;
  confirmation.check(question.context.first, [2]);
  if (longest !== undefined) {
    confirmation.check(longest, [0, 1, 2]);
    confirmation.check(longest, [0], "all queries of few keys");
    confirmation.check(longest, [0], "all queries of all keys");
  }
  others.forEach((probe, at) => confirmation.check(probe, at === 0 ? [0, 1, 2] : [2]));
  const { band } = verdict.mask;
  for (const probe of band === undefined ? [] : sizes.beyond(widthOf(band))) confirmation.check(probe, [0, 1, 2]);
  for (const probe of sizes.immense) confirmation.check(probe, [0], "few queries of few keys");
  confirmation.checkTables(longest ?? question.context.first);
  if (confirmation.found === undefined && confirmation.compared < 2 && longest !== undefined) {
    return reasonFor("mask-not-evaluated", "The mask could be evaluated on the shortest inputs only.");
  }
  return confirmation.found;
}

/** What is seen of the probabilities of one size. */
type Part =
  | "few queries of all keys"
  | "few queries of few keys"
  | "all queries of few keys"
  | "all queries of all keys"
  | "everything";

function tooManyOperations(allowed: unknown): Reason {
  const found = `Comparing the mask with longer inputs takes more than ${String(allowed)} operations.`;
  return reasonFor("mask-not-evaluated", found);
}

class Confirmation {
  /** The first contradiction. */
  found: Reason | undefined;
  /** How often the mask was compared. */
  compared = 0;
  readonly #question: MaskQuestion;
  readonly #verdict: ShortVerdict;
  readonly #draws: InputDraws;
  /** Logits large enough to meet the bounds that the region's own constants set. */
  readonly #caps: number;
  #looks = 0;

  constructor(question: MaskQuestion, verdict: ShortVerdict) {
    this.#question = question;
    this.#verdict = verdict;
    this.#draws = new InputDraws(question.context, question.inputs.nodes, question.region.nodes);
    this.#caps = Math.max(amplitudes.caps, ...boundsOf(question).map((bound) => 1.5 * bound));
  }

  /** Looks at one size with several inputs. What cannot be evaluated at this size is seen at another. */
  check(probe: GraphProbe, draws: readonly Draw[], part: Part = "few queries of all keys"): void {
    for (const draw of draws) {
      if (this.found !== undefined) return;
      try {
        this.found = this.#compare(probe, draw, part);
      } catch (error) {
        if (error instanceof TooLargeToSample && part === "few queries of all keys") {
          // Its rows cannot be told apart: all of them, then, if they are not too many.
          this.check(probe, [draw], "everything");
        } else if (error instanceof EvaluationLimitError && error.details["limit"] === "operations") {
          this.found = tooManyOperations(error.details["allowed"]);
        } else if (!(error instanceof TooLargeToSample) && !FavorError.isInstance(error)) {
          throw error;
        }
      }
    }
  }

  /** Draws until every row of the tables that the mask looks up has been read, by keys that no padding hides. */
  checkTables(probe: GraphProbe): void {
    const { context, region } = this.#question;
    const { nodes } = regionInputs(context, region, probe);
    if (![...nodes, ...region.nodes].some(({ opType }) => /^Gather(Elements|ND)?$/.test(opType))) return;
    this.#draws.startOver();
    for (let i = 0; i < mostTableDraws && !this.#draws.hasDrawnAll; i++) this.check(probe, [0]);
  }

  /** Whether one head has so few logits that all of them can be looked at. */
  #isFew(probe: GraphProbe): boolean {
    const { region, labels } = this.#question;
    const { logits } = labels;
    const dims = probe.info.get(region.logits.output.value)?.dims;
    if (dims === undefined) return false;
    return dims[logits.labels.indexOf(logits.query)]! * dims[logits.labels.indexOf(logits.key)]! <= fewLogits;
  }

  #compare(probe: GraphProbe, draw: Draw, part: Part): Reason | undefined {
    const { context, region, random, batchAt } = this.#question;
    const { scale, mask, tolerance } = this.#verdict;
    const isSingle = tolerance === singleTolerance;
    if (part === "all queries of all keys" && !this.#isFew(probe)) return undefined;
    const { read } = regionInputs(context, region, probe);
    const fed = mask.keyMask === undefined ? read : new Set([...read, ...readBy(context.graph, mask.keyMask.value)]);
    const named = namedPositions(this.#question);
    const isSparse = part.endsWith("few keys");
    const isAll = part.startsWith("all");
    const amplitude = (this.#looks++ % 2 === 0 ? this.#caps : amplitudes.shares) / Math.abs(scale);
    const seen = sampleRows(this.#question, probe, this.#draws.at(probe, fed, draw, random), {
      rows:
        part === "everything"
          ? undefined
          : (queries) =>
              isAll
                ? Array.from({ length: queries }, (_, at) => at)
                : positionsSeen(queries, [...named, ...(isSparse ? powersOfTwo(queries) : [])], random),
      columns: isSparse
        ? (keys, rows) => {
            const ends = isAll || mask.band === undefined ? [] : rows.flatMap((row) => endsOf(mask.band!, row));
            return positionsSeen(keys, [...named, ...powersOfTwo(keys), ...ends], random);
          }
        : undefined,
      logit: () => (2 * random() - 1) * amplitude,
    });
    if (seen === undefined) return undefined;
    this.compared++;
    const { queries, keys, groups, rows, columns, logits, probabilities } = seen;
    const keeps = mask.keyMask && keptKeys(mask.keyMask, seen.whole(mask.keyMask.value));
    const { band, alibi } = mask;
    const isOrdered = isCausal(mask);
    const width = columns?.length ?? keys;
    const slopes = alibi && slopesOf(alibi, groups / batchAt(probe));
    for (let g = 0; g < groups; g++) {
      // Heads of one item of the batch follow each other; a mask may be one for all items.
      const item = keeps?.length === keys ? 0 : Math.floor((g * batchAt(probe)) / groups);
      const keep = keeps?.subarray(item * keys, (item + 1) * keys);
      const positions = alibi && alibiPositions(alibi, keys, keep);
      const distance = (query: number, key: number): number => Math.abs(positions![query]! - positions![key]!);
      for (const [r, query] of rows.entries()) {
        // Rows of padding attend to what they like. Where nothing is padding, a mask may hide keys of its own accord.
        if (draw !== 0 && queries === keys && keep?.[query] === 0) continue;
        const at = (g * rows.length + r) * width;
        const visible = isOrdered ? query + keys - queries + 1 : keys;
        const isSeen = (key: number): boolean => (band === undefined ? key < visible : isWithin(band, query, key));
        const counts = (key: number): boolean => isSeen(key) && keep?.[key] !== 0;
        const slope = slopes?.[g % slopes.length] ?? 0;
        const row = biased(logits.subarray(at, at + width), slope / scale, (k) => distance(query, columns?.[k] ?? k));
        const expected = softmaxRow(row, scale, (k) => counts(columns?.[k] ?? k));
        if (expected === undefined) continue;
        if (!isSingle && columns && slope * nearestOf(columns.filter(counts), query) > largestHalfBias) continue;
        const actual = probabilities.subarray(at, at + width);
        const rounding = isSingle ? singleRounding * slope * keys : 0;
        if (difference(actual, expected) <= tolerance + rounding && !(isSingle && misweighs(actual, expected)))
          continue;
        const place = { keys, query, batch: probe.sizes.batch, draw, keyAt: (k: number) => columns?.[k] ?? k };
        return describeDifference(mask, place, expected, actual);
      }
    }
    return undefined;
  }
}

/** Everything that is read on the way to a value. */
const readBy = (graph: Graph, value: string): Set<string> => allRead([value], ancestors(graph, [value]));

/** Numbers that the region compares logits with or bounds them by, short of those that hide keys. */
function boundsOf({ context, region }: MaskQuestion): number[] {
  return region.nodes
    .filter(({ opType }) => boundingOperators.has(opType))
    .flatMap(({ input }) => input.flatMap((value) => context.graph.constant(value)?.data[0] ?? []))
    .map(Math.abs)
    .filter((bound) => bound > amplitudes.caps / 2 && bound < largestBound);
}

/** Integers among the small constants that the mask is made of, and their neighbours: a position may be named by one. */
function namedPositions({ context, inputs }: MaskQuestion): number[] {
  const found = new Set<number>();
  // Those that positions are compared with as well, whatever follows from the length alone.
  for (const value of allRead(inputs.values, ancestors(context.graph, inputs.values))) {
    const constant = context.graph.constant(value) ?? steadyValue(context, value);
    if (constant === undefined || constant.data.length > mostNamed) continue;
    for (const entry of constant.data) if (entry > 2 && entry < 2 ** 24) found.add(Math.floor(entry));
  }
  return [...found]
    .toSorted((a, b) => a - b)
    .slice(-constantsSeen)
    .flatMap((at) => [at - 1, at, at + 1]);
}

/** The first and the last positions, those in the middle, those that are given, and some others. */
function positionsSeen(count: number, given: readonly number[], random: () => number): number[] {
  const wanted = [0, 1, count - 1, count - 2, count >> 1, (count >> 1) + 1, 127, 128];
  while (wanted.length < queriesSeen) wanted.push(Math.floor(random() * count));
  return [...new Set([...wanted, ...given].filter((at) => at >= 0 && at < count))].toSorted((a, b) => a - b);
}

function powersOfTwo(count: number): number[] {
  const found: number[] = [];
  for (let power = 1; power < count; power *= 2) found.push(power, count - 1 - power);
  return found;
}

/** The keys at both ends of what a query sees, and their neighbours. */
function endsOf({ before, after, firstKeys }: Band, query: number): number[] {
  return [query - before, query + after, firstKeys, query].flatMap((at) => [at - 1, at, at + 1]);
}

/** 1 for each key that counts, [batch or 1, keys]. */
function keptKeys({ rule }: KeyMask, { data }: Tensor): Uint8Array {
  const counts = {
    "nonzero keeps": (entry: number) => entry !== 0,
    "zero keeps": (entry: number) => entry === 0,
    additive: (entry: number) => entry > leastAdded,
  }[rule];
  return Uint8Array.from(data as Float32Array, (entry) => Number(counts(entry)));
}

/** The slope of each head that is looked at: one stands for all where they are treated alike. */
function slopesOf({ slopes }: Alibi, heads: number): readonly number[] {
  return slopes.length === heads || slopes.length === 1 ? slopes : slopes.slice(0, heads);
}

/** The distance of the key that is nearest to a query. */
function nearestOf(keys: readonly number[], query: number): number {
  return keys.reduce((least, key) => Math.min(least, Math.abs(key - query)), Infinity);
}

/** Logits less the slope times the distance of their keys. */
function biased(logits: Float64Array, slope: number, distance: (k: number) => number): Float64Array {
  return slope === 0 ? logits : logits.map((logit, k) => logit - slope * distance(k));
}

/** The softmax of the keys that count; undefined where none does. */
function softmaxRow(logits: Float64Array, scale: number, counts: (k: number) => boolean): Float64Array | undefined {
  let largest = -Infinity;
  for (let k = 0; k < logits.length; k++) if (counts(k)) largest = Math.max(largest, scale * logits[k]!);
  if (largest === -Infinity) return undefined;
  let sum = 0;
  const row = logits.map((logit, k) => {
    const weight = counts(k) ? Math.exp(scale * logit - largest) : 0;
    sum += weight;
    return weight;
  });
  return row.map((weight) => weight / sum);
}

/** The sum of differences along a row: errors of single keys add up over many of them. */
function difference(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, entry, k) => sum + Math.abs(entry - b[k]!), 0);
}

/** Whether a key has another share than it should: a single one of thousands that is hidden changes the row by little. */
function misweighs(found: Float64Array, expected: Float64Array): boolean {
  return expected.some((share, k) => share > leastShare && !(found[k]! > share / 1.5 && found[k]! < share * 1.5));
}

/** What the coarsest type on the way to the probabilities leaves of a row. */
export function rowTolerance(types: ReadonlySet<number | undefined>): number {
  if (types.has(DataType.BFLOAT16)) return 2e-1;
  return types.has(DataType.FLOAT16) ? 5e-2 : singleTolerance;
}
