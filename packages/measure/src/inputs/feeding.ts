/** What an axis of an input ranges over. `query` and `one` repeat what the input says of each key. */
export type InputAxis = "batch" | "length" | "query" | "one";

/** What the numbers of an input mean. */
export type InputMeaning =
  | { readonly kind: "ids" }
  /** Which tokens count: `keeps` for a token, `hides` for padding. */
  | { readonly kind: "mask"; readonly keeps: number; readonly hides: number }
  /** The number of tokens of each sequence. */
  | { readonly kind: "lengths" }
  /** Kinds of tokens: one sequence is of kind 0 throughout. */
  | { readonly kind: "types" }
  | { readonly kind: "positions" }
  /** It changes no output. */
  | { readonly kind: "unused" };

export type InputType = "int64" | "int32" | "uint8" | "int8" | "float32" | "bool";

/** One input of a model, and how it is fed. */
export interface FedInput {
  readonly name: string;
  readonly type: InputType;
  readonly axes: readonly InputAxis[];
  readonly meaning: InputMeaning;
}

/** How an output lies: `batch first` [batch, length, ...], `length first` [length, batch, ...], or `pooled` [batch, ...]. */
export type OutputLayout = "batch first" | "length first" | "pooled";

/** How a model is fed with token ids, and how its outputs are to be read. */
export interface Feeding {
  readonly inputs: readonly FedInput[];
  /** Layouts of the float32 outputs that it was proved on. */
  readonly outputs: ReadonlyMap<string, OutputLayout>;
  /** Whether an input hides padding, so that sequences of different lengths can share a batch. */
  readonly takesMask: boolean;
  /** Whether padding behind a sequence changes none of its outputs: by a mask, or because nothing sees later tokens. */
  readonly hidesPadding: boolean;
  /** The number of rows that every batch must have, and the length that sequences must be padded to. */
  readonly fixedBatch: number | undefined;
  readonly fixedLength: number | undefined;
  /** Rows of the token embedding, if the graph shows them. */
  readonly vocabulary: number | undefined;
}

/** Token sequences to feed. */
export interface TokenRows {
  readonly rows: readonly (readonly number[])[];
  /** Rows of the batch; if there are fewer sequences, the last one is repeated, so that no row is all padding. */
  readonly batch: number;
  /** The length that rows are padded to, on the right. */
  readonly length: number;
  /** Token id of padding. */
  readonly padId: number;
  /** The first position id. */
  readonly firstPosition: number;
}

/** The values of one input: row-major, with as many axes as the input has. */
export function inputValues(
  { axes, meaning }: Pick<FedInput, "axes" | "meaning">,
  { rows, batch, length, padId, firstPosition }: TokenRows,
): { readonly dims: readonly number[]; readonly data: Float64Array } {
  const sizes: Readonly<Record<InputAxis, number>> = { batch, length, query: length, one: 1 };
  const dims = axes.map((axis) => sizes[axis]);
  const data = new Float64Array(dims.reduce((product, dim) => product * dim, 1));
  const [batchAxis, lengthAxis] = [axes.indexOf("batch"), axes.indexOf("length")];
  const place = dims.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    const ids = rows[Math.min(batchAxis < 0 ? 0 : place[batchAxis]!, rows.length - 1)]!;
    data[i] = valueAt(meaning, ids, lengthAxis < 0 ? 0 : place[lengthAxis]!, padId, firstPosition);
    for (let axis = dims.length - 1; axis >= 0 && ++place[axis]! === dims[axis]; axis--) place[axis] = 0;
  }
  return { dims, data };
}

function valueAt(
  meaning: InputMeaning,
  ids: readonly number[],
  at: number,
  padId: number,
  firstPosition: number,
): number {
  switch (meaning.kind) {
    case "ids":
      return ids[at] ?? padId;
    case "mask":
      return at < ids.length ? meaning.keeps : meaning.hides;
    case "lengths":
      return ids.length;
    case "positions":
      return at + firstPosition;
    case "types":
    case "unused":
      return 0;
  }
}
