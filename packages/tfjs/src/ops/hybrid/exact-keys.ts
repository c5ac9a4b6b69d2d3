import { ArgumentError, requireOptions } from "@favor/core";
import type { ExactKeysOptions, OptionNames } from "@favor/core";
import type { AttentionSizes } from "../../attention-inputs.ts";

/**
 * Which keys are exact for each query, with the names of `ExactKeysOptions` in @favor/core. Blocks are chosen by its
 * default selector, `averagedQueries()`.
 */
export type ExactKeys = Pick<ExactKeysOptions, "window" | "near" | "chosenBlocks">;

const names: OptionNames<ExactKeys> = { window: true, near: true, chosenBlocks: true };

/** {@link ExactKeys} with its defaults, and how rows are divided into blocks. */
export interface BlockLayout {
  readonly window: number;
  readonly near: boolean;
  /** Never more than there are blocks of keys. */
  readonly chosenBlocks: number;
  readonly causal: boolean;
  readonly queryBlocks: number;
  readonly keyBlocks: number;
}

/** @throws ArgumentError, naming the argument, for another value than a whole number or a boolean; FavorError `unknown-option`. */
export function requireExactKeys(exactKeys: ExactKeys): void {
  requireOptions("exactKeys", exactKeys, names, "{ window: 32, chosenBlocks: 8 }");
  const { window, near = true, chosenBlocks = 0 } = exactKeys;
  for (const [name, value] of Object.entries({ window, chosenBlocks })) {
    if (!Number.isInteger(value) || value < 0) {
      throw new ArgumentError(`exactKeys.${name}`, "an integer of at least 0", value);
    }
  }
  if (typeof near !== "boolean") throw new ArgumentError("exactKeys.near", "true or false", near);
  if (window === 0 && chosenBlocks > 0) {
    throw new ArgumentError("exactKeys.window", "the width of the chosen blocks, at least 1", window);
  }
}

/** @throws ArgumentError if a near field lacks a key per query, or causal attention a near field. */
export function layOutBlocks(exactKeys: ExactKeys, { queries, keys }: AttentionSizes, causal: boolean): BlockLayout {
  const { window, near = true, chosenBlocks = 0 } = exactKeys;
  if (near && queries !== keys) {
    const expected = `${queries} keys for a near field (exactKeys.near: false goes without, as cross-attention must)`;
    throw new ArgumentError("k", expected, keys);
  }
  if (causal && !near) throw new ArgumentError("exactKeys.near", "true in causal attention", near);
  const keyBlocks = Math.ceil(keys / window);
  return {
    window,
    near,
    causal,
    chosenBlocks: Math.min(chosenBlocks, keyBlocks),
    queryBlocks: Math.ceil(queries / window),
    keyBlocks,
  };
}

/** How far from its own the near blocks of a block of queries are; empty without near field. */
export function nearOffsets({ near, causal }: BlockLayout): readonly number[] {
  if (!near) return [];
  return causal ? [-1, 0] : [-1, 0, 1];
}

/** Whether a block of keys may be chosen for a block of queries, or be estimated: it is not near, and past if causal. */
export function isFar({ near, causal }: BlockLayout, queryBlock: number, keyBlock: number): boolean {
  if (causal) return keyBlock < queryBlock - 1;
  return !near || Math.abs(keyBlock - queryBlock) > 1;
}
