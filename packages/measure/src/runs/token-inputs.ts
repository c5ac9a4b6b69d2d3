/** What a model input means. */
export type InputRole = "ids" | "mask" | "types" | "positions";

const roleByName: readonly (readonly [RegExp, InputRole])[] = [
  [/mask/i, "mask"],
  [/token_?type|segment/i, "types"],
  [/position/i, "positions"],
  [/ids?\b|tokens?\b|^input|ids?:|ids_/i, "ids"],
];

/** The role of an input by its name, as exporters name them; undefined: not one that token ids give. */
export function roleOf(name: string): InputRole | undefined {
  return roleByName.find(([pattern]) => pattern.test(name))?.[1];
}

export interface TokenInputOptions {
  /** The id at padded positions. */
  readonly padId: number;
  /** RoBERTa's position ids begin after this id. */
  readonly firstPosition: number;
}

/**
 * An input's values for some rows of token ids, padded on the right, row-major `[batch, length]`.
 *
 * @param batch - rows beyond the sequences (a fixed batch) repeat the last one, so that none is fully padded.
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
