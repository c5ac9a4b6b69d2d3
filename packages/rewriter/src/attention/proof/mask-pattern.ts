import type { RefusalCode } from "../../refusals/codes.ts";
import type { Band } from "../band.ts";
import { findBand } from "./band-pattern.ts";
import { isMasked, masked, type MaskSample } from "./mask-sample.ts";

export type MaskPattern =
  | { readonly kind: "none" }
  /** keep[g, k], the same for every query. */
  | { readonly kind: "padding" | "causal" | "padding and causal"; readonly keep: readonly Uint8Array[] }
  | { readonly kind: "band" | "padding and band"; readonly band: Band; readonly keep: readonly Uint8Array[] }
  | { readonly kind: "other"; readonly found: MaskKindFound; readonly message: string };

/** Masks and biases that linear attention cannot express. */
export type MaskKindFound = Extract<
  RefusalCode,
  | "alibi"
  | "relative-position-bias"
  | "additive-bias"
  | "weighted-keys"
  | "sliding-window"
  | "block-diagonal"
  | "query-mask"
  | "per-query-mask"
>;

/** Log weights that differ by less are equal; logits of 16 bits are rounded more coarsely. */
const leastStep = 1e-3;

/** @param tolerance of a probability, the same with which the softmax law was proved; default that of float32 */
export function classifyMask(samples: readonly MaskSample[], tolerance: number = leastStep): MaskPattern {
  if (samples.some(hasFractions)) return classifyBias(samples, Math.max(tolerance, leastStep));
  if (samples.every(({ weights }) => !weights.some((weight) => Number.isNaN(weight) || isMasked(weight)))) {
    return { kind: "none" };
  }
  const perKey = samples.map((sample) => keysKept(sample, false));
  if (perKey.every((keep) => keep !== undefined)) return { kind: "padding", keep: perKey };
  const causal = samples.map((sample) => keysKept(sample, true));
  if (causal.every((keep) => keep !== undefined)) {
    const padded = causal.some((keep) => keep.includes(0));
    return { kind: padded ? "padding and causal" : "causal", keep: causal };
  }
  const found = findBand(samples);
  if (found !== undefined) {
    return { kind: found.keep.some((keep) => keep.includes(0)) ? "padding and band" : "band", ...found };
  }
  return classifyBinary(samples);
}

function hasFractions({ weights }: MaskSample): boolean {
  return weights.some((weight) => weight > masked && weight < 1 - 1e-3);
}

/**
 * keep[g, k] such that query i attends to key k exactly where keep[g, k] and, if `causal`, k <= i + keys - queries.
 * Rows of queries that are padding themselves, and rows in which nothing is kept, may also attend to everything that
 * they could see, or to nothing: exporters differ there.
 */
function keysKept(sample: MaskSample, causal: boolean): Uint8Array | undefined {
  const { groups, queries, keys } = sample;
  const keep = new Uint8Array(groups * keys);
  for (let g = 0; g < groups; g++) {
    const own = groupKept(sample, causal, g);
    if (own === undefined) return undefined;
    keep.set(own, g * keys);
  }
  return queries > 0 ? keep : undefined;
}

/**
 * One row that explains all others shows which keys are kept: the last, or, where that one is free, the last that hides
 * a key it could see. Of rows that hide one, two that both explain the others are equal.
 */
function groupKept(sample: MaskSample, causal: boolean, group: number): Uint8Array | undefined {
  const { weights, queries, keys } = sample;
  let isLast = true;
  for (let reference = queries - 1; reference >= 0; reference--) {
    const at = (group * queries + reference) * keys;
    if (Number.isNaN(weights[at]!)) continue;
    const visible = causal ? Math.min(keys, reference + keys - queries + 1) : keys;
    const hides = weights.subarray(at, at + Math.max(0, visible)).some(isMasked);
    if (!hides && !isLast) continue;
    isLast = false;
    const keep = Uint8Array.from({ length: keys }, (_, k) => (k < visible && !isMasked(weights[at + k]!) ? 1 : 0));
    if (keep.includes(1) && explainsRows(sample, keep, causal, group)) return keep;
    if (hides) return undefined;
  }
  return undefined;
}

function explainsRows(sample: MaskSample, keep: Uint8Array, causal: boolean, group: number): boolean {
  const { weights, queries, keys } = sample;
  for (let i = 0; i < queries; i++) {
    const at = (group * queries + i) * keys;
    const visible = causal ? Math.min(keys, i + keys - queries + 1) : keys;
    const kept = weights.subarray(at, at + keys);
    const isPadding = queries === keys && keep[i] === 0;
    const isEmpty = !keep.subarray(0, Math.max(0, visible)).includes(1);
    if (Number.isNaN(weights[at]!)) {
      if (isPadding || isEmpty) continue;
      return false;
    }
    // A free row still attends to all that it could see: otherwise a window or a segment would pass for padding.
    const couldSee = visible > 0 ? visible : keys;
    if ((isPadding || isEmpty) && !kept.subarray(0, couldSee).some(isMasked)) continue;
    // Where padding is hidden further than the future, a row of padding before the first real key falls back to that.
    if (isPadding && isEmpty && kept.every((weight, k) => isMasked(weight) === (keep[k] === 0))) continue;
    if (kept.some((weight, k) => isMasked(weight) === (k < visible && keep[k] === 1))) return false;
  }
  return true;
}

function classifyBias(samples: readonly MaskSample[], tolerance: number): MaskPattern {
  if (samples.every(hasEqualRows)) {
    return other("weighted-keys", "keys have weights between 0 and 1, the same for every query");
  }
  if (samples.every((sample) => dependsOnDistance(sample, tolerance))) {
    return samples.every((sample) => isLinear(sample, tolerance))
      ? other(
          "alibi",
          "the logits get a bias that is linear in the distance between query and key, as in ALiBi, but it does not fall on both sides alike, by one slope per head",
        )
      : other("relative-position-bias", "the logits get a bias that depends on the distance between query and key");
  }
  return other(
    "additive-bias",
    "the logits get a bias that depends on both the query and the key (a relative position bias over two dimensions, as in Swin or BEiT, or a learned one)",
  );
}

const other = (found: MaskKindFound, message: string): MaskPattern => ({ kind: "other", found, message });

/** Whether all queries of a group give the keys the same weights. */
function hasEqualRows({ weights, queries, keys }: MaskSample): boolean {
  return weights.every((weight, at) => {
    const group = at - (at % (queries * keys));
    const first = weights[group + (at % keys)]!;
    return Number.isNaN(weight) || Number.isNaN(first) || Math.abs(weight - first) < 1e-4;
  });
}

/** Whether log weights, up to a constant per row, depend on the group and k - i alone (masked ones left out). */
function dependsOnDistance({ weights, groups, queries, keys }: MaskSample, tolerance: number): boolean {
  const least = leastComparable(tolerance);
  for (let g = 0; g < groups; g++) {
    // Differences between neighbouring keys do not depend on the row's constant.
    const steps = new Map<number, number>();
    for (let i = 0; i < queries; i++) {
      const at = (g * queries + i) * keys;
      for (let k = 1; k < keys; k++) {
        const [a, b] = [weights[at + k - 1]!, weights[at + k]!];
        if (!(a > least && b > least)) continue;
        const step = Math.log(b / a);
        const seen = steps.get(k - i);
        if (seen === undefined) steps.set(k - i, step);
        else if (Math.abs(seen - step) > tolerance) return false;
      }
    }
  }
  return true;
}

/** Small probabilities of 16 bits have few digits: their ratios say nothing. */
const leastComparable = (tolerance: number): number => (tolerance > leastStep ? 1e-3 : masked);

function isLinear({ weights, groups, queries, keys }: MaskSample, tolerance: number): boolean {
  const least = leastComparable(tolerance);
  for (let g = 0; g < groups; g++) {
    let slope: number | undefined;
    for (let i = 0; i < queries; i++) {
      const at = (g * queries + i) * keys;
      for (let k = 1; k < keys; k++) {
        const [a, b] = [weights[at + k - 1]!, weights[at + k]!];
        if (!(a > least && b > least)) continue;
        const step = Math.abs(Math.log(b / a));
        slope ??= step;
        if (Math.abs(step - slope) > tolerance) return false;
      }
    }
  }
  return true;
}

function classifyBinary(samples: readonly MaskSample[]): MaskPattern {
  const width = Math.max(...samples.map(({ keys }) => keys));
  for (let before = 0; before + 1 < width; before++) {
    for (const after of before === 0 ? [0] : [before, 0]) {
      if (samples.every((sample) => withinWindow(sample, before, after))) {
        return other(
          "sliding-window",
          `a query attends to ${before} keys before it${after > 0 ? ` and ${after} after it` : ""} and no further (a sliding window)`,
        );
      }
    }
  }
  if (samples.every(isBlockDiagonal)) {
    return other("block-diagonal", "a query attends only to keys of its own segment or block (a block-diagonal mask)");
  }
  if (samples.every(hidesQueries)) {
    return other(
      "query-mask",
      "some queries see no key and the others see all: the mask hides queries, [batch, 1, length, 1], and keys of padding count for all others",
    );
  }
  return other("per-query-mask", "the mask differs from query to query and is neither causal nor padding");
}

/** Every query sees the keys within the window, without those that all queries have hidden; if it has one to see. */
function withinWindow({ weights, groups, queries, keys }: MaskSample, before: number, after: number): boolean {
  const offset = keys - queries;
  const inside = (i: number, k: number): boolean => k >= i + offset - before && k <= i + offset + after;
  for (let g = 0; g < groups; g++) {
    const rows = Array.from({ length: queries }, (_, i) => {
      const at = (g * queries + i) * keys;
      return weights.subarray(at, at + keys);
    });
    // A row that has nothing to see falls back to what is hidden elsewhere: what no row hides is kept.
    const keep = Uint8Array.from({ length: keys }, (_, k) =>
      rows.some((row, i) => inside(i, k) && isMasked(row[k]!)) ? 0 : 1,
    );
    const seeing = rows.flatMap((row, i) => {
      const isEmpty = Number.isNaN(row[0]!) || !keep.some((kept, k) => kept === 1 && inside(i, k));
      return isEmpty ? [] : [row.every((weight, k) => isMasked(weight) !== (inside(i, k) && keep[k] === 1))];
    });
    if (seeing.length < queries / 4 || seeing.includes(false)) return false;
  }
  return true;
}

/** Whether each query sees every key or none: a mask along the wrong axis. */
function hidesQueries({ weights }: MaskSample): boolean {
  return !weights.some(isMasked);
}

/** keep[i, k] is an equivalence relation: rows are either equal or disjoint. */
function isBlockDiagonal({ weights, groups, queries, keys }: MaskSample): boolean {
  if (queries !== keys) return false;
  for (let g = 0; g < groups; g++) {
    const kept = (i: number, k: number): boolean => weights[(g * queries + i) * keys + k]! > masked;
    for (let i = 0; i < queries; i++) {
      if (!kept(i, i)) return false;
      for (let k = 0; k < keys; k++) {
        if (!kept(i, k)) continue;
        for (let m = 0; m < keys; m++) if (kept(i, m) !== kept(k, m)) return false;
      }
    }
  }
  return true;
}
