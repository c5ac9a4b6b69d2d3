import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** An attention of a zoo model, as the manifest states it. */
export interface ZooAttention {
  readonly kind: "self" | "cross";
  readonly heads?: number;
  readonly kv_heads?: number;
  readonly head_dim?: number;
  readonly scale?: number;
  readonly causal?: boolean;
  readonly window?: number;
}

/** A model of the zoo; the fields are explained in the zoo's README. */
export interface ZooEntry {
  readonly name: string;
  readonly family: "A" | "B" | "C" | "D" | "E" | "F" | "G";
  readonly arch: string;
  readonly exporter: string;
  readonly exporter_id: string;
  readonly version: string;
  readonly opset: number;
  readonly axes: string;
  readonly attention_count: number;
  readonly attention: readonly ZooAttention[];
  readonly causal: boolean;
  /** "convert", "convert with warning: ..." or "refuse: ..." */
  readonly verdict: string;
  readonly mask_form: readonly string[];
  readonly position_form: readonly string[];
  readonly max_positions?: number | null;
  /** File names in the zoo. */
  readonly model: string;
  readonly samples: readonly string[];
  /** Largest absolute difference of the outputs from the expected ones, at unpadded positions. */
  readonly tol: number;
  readonly note: string | null;
  readonly inputs: readonly ZooValue[];
  readonly outputs: readonly ZooValue[];
  readonly external_data?: unknown;
  readonly core: boolean;
}

export interface ZooValue {
  readonly name: string;
  readonly elem_type: number;
  readonly shape: readonly (number | string | null)[] | null;
}

/** The folder `zoo` of `shared`, which lies beside the repository. */
export const zooFolder: URL = new URL("../../../../../shared/zoo/", import.meta.url);

/** Whether the zoo is there; tests skip visibly where it is not. */
export const hasZoo: boolean = existsSync(new URL("manifest.json", zooFolder));

/** The entries of the zoo's manifest; none where there is no zoo. */
export function zooEntries(): ZooEntry[] {
  if (!hasZoo) return [];
  return JSON.parse(readFileSync(new URL("manifest.json", zooFolder), "utf8")) as ZooEntry[];
}

/** The path of a file of the zoo. */
export function zooPath(file: string): string {
  return fileURLToPath(new URL(file, zooFolder));
}

/** The bytes of a file of the zoo. */
export function readZooFile(file: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(file, zooFolder)));
}
