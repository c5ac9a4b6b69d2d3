import { isWithin, type Band } from "../band.ts";
import { isMasked, type MaskSample } from "./mask-sample.ts";

/** One query and, for each key, its weight relative to the row's largest. */
export interface BandRow {
  readonly query: number;
  readonly weights: Float64Array;
}

/**
 * The band that all samples keep to, and which keys count in each of them besides: keep[group, key]. Undefined if there
 * is none, or no sample is long enough to show both of its ends.
 */
export function findBand(samples: readonly MaskSample[]): { band: Band; keep: readonly Uint8Array[] } | undefined {
  if (samples.some(({ queries, keys }) => queries !== keys)) return undefined;
  const tried = new Set<string>();
  for (const sample of samples.toSorted((a, b) => b.keys - a.keys)) {
    for (let g = 0; g < sample.groups; g++) {
      const band = readBand(rowsOf(sample, g));
      if (band === undefined || tried.has(JSON.stringify(band))) continue;
      tried.add(JSON.stringify(band));
      const keep = samples.map((other) => keptWithin(other, band));
      if (keep.every((kept) => kept !== undefined)) return { band, keep };
    }
  }
  return undefined;
}

function rowsOf({ weights, queries, keys }: MaskSample, group: number): BandRow[] {
  return Array.from({ length: queries }, (_, query) => {
    const at = (group * queries + query) * keys;
    return { query, weights: weights.subarray(at, at + keys) };
  });
}

/**
 * The band of rows without padding, from the ends of what they see. A candidate, to be held against all rows.
 *
 * @param rows in ascending order: the first ones of the sequence without a gap, and the last one
 */
export function readBand(rows: readonly BandRow[]): Band | undefined {
  const last = rows.at(-1);
  if (last === undefined) return undefined;
  const length = last.weights.length;
  const sees = ({ weights }: BandRow, key: number): boolean => weights[key]! >= 0 && !isMasked(weights[key]!);
  if (last.query !== length - 1 || !sees(last, last.query)) return undefined;
  let before = 0;
  while (before < last.query && sees(last, last.query - before - 1)) before++;
  // It does not show where the window ends.
  if (before === last.query) return undefined;
  let firstKeys = 0;
  while (sees(last, firstKeys)) firstKeys++;
  const endOf = (row: BandRow): number => {
    let end = row.query;
    while (end + 1 < length && sees(row, end + 1)) end++;
    return end;
  };
  const cut = rows.map((row) => ({ query: row.query, end: endOf(row) })).filter(({ end }) => end < length - 1);
  const [first, widest] = [cut[0], cut.at(-1)];
  if (first === undefined || widest === undefined) return undefined;
  return { before, after: widest.end - widest.query, firstKeys, firstQueries: first.query };
}

/**
 * keep[group, key] such that each query attends exactly to the keys within the band that are kept. Rows of padding, and
 * rows without such a key, may fall back to others: exporters differ there.
 */
function keptWithin(sample: MaskSample, band: Band): Uint8Array | undefined {
  const { groups, queries, keys } = sample;
  const keep = new Uint8Array(groups * keys);
  for (let g = 0; g < groups; g++) {
    const rows = rowsOf(sample, g);
    const own = keptKeys(rows, band);
    const outcomes = rows.map((row) => outcomeOf(row, own, band));
    const seeing = outcomes.filter((outcome) => outcome === "within").length;
    if (outcomes.includes("other") || seeing < queries / 4) return undefined;
    keep.set(own, g * keys);
  }
  return keep;
}

/** Which keys the rows keep. Each query sees its own key, so one that does not see exactly what it should is padding. */
function keptKeys(rows: readonly BandRow[], band: Band): Uint8Array {
  const keep = Uint8Array.from(rows, (_, k) =>
    rows.some(({ query, weights }) => isWithin(band, query, k) && isMasked(weights[k]!)) ? 0 : 1,
  );
  // Of several keys of padding, rows that have nothing to see may see those in the middle: the outer ones go first.
  for (let isChanged = true; isChanged;) {
    isChanged = false;
    for (const row of rows) {
      if (keep[row.query] === 0 || outcomeOf(row, keep, band) === "within") continue;
      keep[row.query] = 0;
      isChanged = true;
    }
  }
  return keep;
}

function outcomeOf({ query, weights }: BandRow, keep: Uint8Array, band: Band): "within" | "free" | "other" {
  const isInside = (k: number): boolean => isWithin(band, query, k);
  const isKept = (k: number): boolean => keep[k] === 1;
  const isEmpty = !weights.some((_, k) => isInside(k) && isKept(k));
  const isFree = isEmpty || !isKept(query);
  if (Number.isNaN(weights[0]!)) return isFree ? "free" : "other";
  const seesThose = (which: (k: number) => boolean): boolean =>
    weights.every((weight, k) => isMasked(weight) !== which(k));
  if (seesThose((k) => isInside(k) && isKept(k))) return "within";
  // Where a key may be hidden twice, as padding and by the window, those hidden once remain.
  const hiddenLess = [isInside, isKept, (k: number) => isInside(k) || isKept(k)];
  const fallsBack = isFree && (seesThose(() => true) || (isEmpty && hiddenLess.some(seesThose)));
  return fallsBack ? "free" : "other";
}
