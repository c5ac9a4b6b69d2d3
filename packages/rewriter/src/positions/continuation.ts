import { axisView } from "@favor/onnx/evaluate";
import { elementCount, isFloat, isInteger, makeData, roundInPlace, type Tensor } from "@favor/onnx/evaluate";
import { DataType } from "@favor/onnx";
import { sinusoidalLaw } from "./sinusoidal.ts";

/** How a constant continues past its last row, or why that is unknown. */
export type Continuation = { readonly tensor: Tensor; readonly how: string } | { readonly refused: string };

/** The wanted number of rows along one axis; the first position is at row `offset`. */
export interface GrownAxis {
  readonly axis: number;
  readonly offset: number;
  readonly rows: number;
}

/**
 * Gives a position table or an integer buffer more rows along one axis. Constant rows, counting integers and sinusoids
 * continue by their own law. A learned table is tiled (row r is row `offset + (r - offset) mod (N - offset)` of its N
 * rows) or stretched linearly so that its first and last position rows stay first and last.
 *
 * @param computed whether the rows must follow a law, as in rotary caches: then a learned table is refused
 */
export function continueRows(
  table: Tensor,
  { axis, offset, rows }: GrownAxis,
  growth: "tile" | "interpolate",
  computed: boolean = false,
): Continuation {
  const { outer, length, inner } = axisView(table.dims, axis);
  const source = (block: number, row: number, column: number): number =>
    table.data[(block * length + row) * inner + column]!;
  const always = (holds: (block: number, row: number, column: number) => boolean): boolean => {
    for (let block = 0; block < outer; block++)
      for (let row = 1; row < length; row++)
        for (let column = 0; column < inner; column++) if (!holds(block, row, column)) return false;
    return true;
  };
  const made = (how: string, value: (block: number, row: number, column: number) => number): Continuation => {
    const dims = table.dims.map((dim, i) => (i === axis ? rows : dim));
    const data = makeData(table.dataType, elementCount(dims));
    let at = 0;
    for (let block = 0; block < outer; block++)
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < inner; column++) data[at++] = value(block, row, column);
    roundInPlace(table.dataType, data);
    return { how, tensor: { dims, dataType: table.dataType, data } };
  };
  const kept = (beyond: (block: number, row: number, column: number) => number): typeof beyond => {
    return (block, row, column) => (row < length ? source(block, row, column) : beyond(block, row, column));
  };

  if (always((block, row, column) => source(block, row, column) === source(block, 0, column))) {
    return made(
      "its value is the same at every position",
      kept((block, _, column) => source(block, 0, column)),
    );
  }
  if (isInteger(table.dataType) && always((b, row, c) => source(b, row, c) === source(b, 0, c) + row)) {
    return made(
      "it continues to count",
      kept((block, row, column) => source(block, 0, column) + row),
    );
  }
  if (table.dataType === DataType.BOOL || table.dataType === DataType.INT32 || table.dataType === DataType.INT64) {
    return { refused: "its values neither count nor stay the same, so it is unknown how they continue" };
  }
  const law = growth === "tile" && isFloat(table.dataType) ? sinusoidalLaw(table, axis, offset) : undefined;
  if (law !== undefined) {
    return made(
      "its sinusoids continue",
      kept((_, row, column) => law(row, column)),
    );
  }
  if (computed) return { refused: "it is a rotary cache with unknown frequencies" };
  const positions = length - offset;
  if (growth === "tile") {
    return made(
      "its rows repeat",
      kept((block, row, column) => source(block, offset + ((row - offset) % positions), column)),
    );
  }
  const round = isFloat(table.dataType) ? (value: number) => value : Math.round;
  return made(
    "its rows are stretched by interpolation, which also changes the output for short inputs",
    (block, row, column) => {
      if (row < offset) return source(block, row, column);
      const at = ((row - offset) * (positions - 1)) / (rows - offset - 1);
      const low = Math.min(Math.floor(at), positions - 1);
      const high = Math.min(low + 1, positions - 1);
      const share = at - low;
      return round((1 - share) * source(block, offset + low, column) + share * source(block, offset + high, column));
    },
  );
}

/** A square buffer of 1 GB or more would be useless. */
const squareElements = 1 << 28;

/**
 * Gives a causal buffer [..., N, N] more rows and columns: one value on and below the diagonal, another above it. Any
 * other square (a learned bias) is refused.
 *
 * @param axes that must grow, in order: the last two, queries and keys
 */
export function continueCausal(buffer: Tensor, axes: readonly GrownAxis[]): Continuation {
  const { dims, dataType, data } = buffer;
  const rank = dims.length;
  const size = dims[rank - 1]!;
  const [query, key, ...more] = axes;
  const isLast = query?.axis === rank - 2 && key?.axis === rank - 1 && more.length === 0;
  if (!isLast || dims[rank - 2] !== size || size < 2) {
    return { refused: "it is read by position along several axes, and is not a square of queries and keys" };
  }
  const below = data[0]!;
  const above = data[1]!;
  const isCausal = data.every((value, i) => {
    const row = Math.floor(i / size) % size;
    return value === (i % size <= row ? below : above);
  });
  if (!isCausal) {
    return {
      refused:
        "it holds a value for each pair of positions, but is not a causal mask; a learned bias cannot be continued",
    };
  }
  const [rows, columns] = [query.rows, key.rows];
  const grown = [...dims.slice(0, -2), rows, columns];
  const count = elementCount(grown);
  if (count > squareElements) return { refused: `it would need ${count} elements` };
  const made = makeData(dataType, count);
  for (let i = 0; i < count; i++) made[i] = i % columns <= Math.floor(i / columns) % rows ? below : above;
  return { tensor: { dims: grown, dataType, data: made }, how: "its causal triangle continues" };
}
