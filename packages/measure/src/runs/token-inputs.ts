/** The meaning of a model input. */
export type InputRole = "ids" | "mask" | "types" | "positions";

const roleByName: readonly (readonly [RegExp, InputRole])[] = [
  [/mask/i, "mask"],
  [/token_?type|segment/i, "types"],
  [/position/i, "positions"],
  [/ids?\b|tokens?\b|^input|ids?:|ids_/i, "ids"],
];

/** The role of an input, judged by the names that exporters use; undefined if it cannot be derived from token ids. */
export function roleOf(name: string): InputRole | undefined {
  return roleByName.find(([pattern]) => pattern.test(name))?.[1];
}

export interface TokenInputOptions {
  /** Token id for padding. */
  readonly padId: number;
  /** The first position id. */
  readonly firstPosition: number;
}

/**
 * Computes an input's values for rows of token ids, padded on the right: row-major `[batch, length]`.
 *
 * @param batch - number of rows; if there are fewer sequences, the last one is repeated, so that no row is all padding.
 */
export function tokenInput(
  role: InputRole,
  rows: readonly (readonly number[])[],
  batch: number,
  length: number,
  { padId, firstPosition }: TokenInputOptions,
): Int32Array {
  const values = new Int32Array(batch * length);
  for (let row = 0; row < batch; row++) {
    const ids = rows[Math.min(row, rows.length - 1)]!;
    for (let at = 0; at < length; at++) {
      if (role === "ids") values[row * length + at] = ids[at] ?? padId;
      else if (role === "mask") values[row * length + at] = at < ids.length ? 1 : 0;
      else if (role === "positions") values[row * length + at] = at + firstPosition;
    }
  }
  return values;
}
