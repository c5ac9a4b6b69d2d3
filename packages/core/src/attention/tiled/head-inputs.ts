/** One key head of an attention and the query heads that read it: the arrays of all heads, and which head is meant. */
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
