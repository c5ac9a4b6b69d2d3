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

interface ZooValue {
  readonly name: string;
  readonly elem_type: number;
  readonly shape: readonly (number | string | null)[] | null;
}
