/** ALiBi (2108.12409): the logits get -m |i - j|, with a slope m of its own for each head. */
export interface Alibi {
  /** m per head, none negative; 0 for a head without the bias. */
  readonly slopes: readonly number[];
  /** What i and j count: all positions, or only those of keys that the padding mask keeps, as in BLOOM. */
  readonly positions: "all" | "kept";
}

/** In words: "the logits fall by 0.5 to 0.0039 per position between query and key (ALiBi)". */
export function describeAlibi({ slopes, positions }: Alibi): string {
  const shown = [Math.max(...slopes), Math.min(...slopes)].map((slope) => String(Number(slope.toPrecision(3))));
  const by = shown[0] === shown[1] ? shown[0] : shown.join(" to ");
  const counted = positions === "kept" ? "position that counts" : "position";
  return `the logits fall by ${by} per ${counted} between query and key (ALiBi)`;
}

/** The positions that i and j stand for. */
export function alibiPositions(
  { positions }: Pick<Alibi, "positions">,
  keys: number,
  keep: ArrayLike<number> | undefined,
): Float64Array {
  if (positions === "all" || keep === undefined) return Float64Array.from({ length: keys }, (_, key) => key);
  let kept = 0;
  return Float64Array.from({ length: keys }, (_, key) => (kept += keep[key] === 0 ? 0 : 1));
}

/** A mask with a slope for each head, where one for all was found. */
export function withSlopesOf<Mask extends { readonly alibi?: Alibi }>(heads: number, mask: Mask): Mask {
  const { alibi } = mask;
  if (alibi === undefined || alibi.slopes.length !== 1) return mask;
  return { ...mask, alibi: { ...alibi, slopes: Array.from({ length: heads }, () => alibi.slopes[0]!) } };
}
