/** The arrays of all heads, and which key head to compute, together with the query heads that read it. */
export interface HeadInputs {
  /** `[heads, queryRows, dim]`. */
  readonly query: Float32Array;
  /** `[keyHeads, keyRows, dim]`. */
  readonly key: Float32Array;
  /** `[keyHeads, keyRows, valueDim]`. */
  readonly value: Float32Array;
  readonly keyHead: number;
  /** Whether the head's feature map has a core. */
  readonly hasCore: boolean;
}
