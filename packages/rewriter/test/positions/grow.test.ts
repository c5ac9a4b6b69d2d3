import { Tensor as OrtTensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { decodeTensor, tensorOf, type Tensor } from "@favor/onnx/evaluate";
import { Graph } from "@favor/onnx/graph";
import { encodeModel } from "@favor/onnx";
import { DataType, type ModelProto, type NodeProto } from "@favor/onnx";
import { growPositions } from "../../src/positions/grow.ts";
import { bool, float32, int64, list, node } from "@favor/test-support/nodes";
import { floatOutputs, openSession } from "@favor/test-support/onnxruntime";
import { countPositions, ids, smallModel, valueInfo } from "@favor/test-support/small-model";

/** A learned table: no row like another, and no law. */
const learned = (rows: number, columns = 3): Tensor =>
  float32(
    [rows, columns],
    Array.from({ length: rows * columns }, (_, i) => Math.sin(i * i * 1.7 + 1)),
  );

const grow = (model: ModelProto, maxLength: number, growth: "tile" | "interpolate" = "tile"): string[] =>
  growPositions(Graph.of(model), maxLength, growth);

/** Rows of the output for the given token ids, in onnxruntime. */
async function rowsFor(model: ModelProto, tokens: readonly number[], columns = 3): Promise<number[][]> {
  const session = await openSession(encodeModel(model));
  const feed = new OrtTensor("int64", BigInt64Array.from(tokens, BigInt), [1, tokens.length]);
  const out = (await floatOutputs(session, { ids: feed })).get("out")!;
  return Array.from({ length: out.length / columns }, (_, row) =>
    Array.from(out.subarray(row * columns, (row + 1) * columns)),
  );
}

const tokens = (count: number): number[] => Array.from({ length: count }, (_, i) => 5 + (i % 7));
const rowOf = ({ data, dims }: Tensor, row: number): number[] =>
  Array.from(data.subarray(row * dims[1]!, (row + 1) * dims[1]!));
const initializer = (model: ModelProto, name: string): Tensor | undefined => {
  const found = model.graph.initializer.find((tensor) => tensor.name === name);
  return found && decodeTensor(found);
};

const gatherPositions = [...countPositions, node("Gather", ["table", "positions"], ["out"], { axis: 0 })];

/** RoBERTa's: the number of tokens up to here that are not padding (1), plus 1; padding stays at row 1. */
const countUnpadded: NodeProto[] = [
  node("Equal", ["ids", "one"], ["padding"]),
  node("Not", ["padding"], ["real"]),
  node("Cast", ["real"], ["ones"], { to: DataType.INT64 }),
  node("CumSum", ["ones", "one"], ["counts"]),
  node("Mul", ["counts", "ones"], ["masked"]),
  node("Add", ["masked", "one"], ["positions"]),
];

describe("a learned table is tiled", () => {
  test("Range, Gather: row r is row r mod N", async () => {
    const table = learned(9);
    const model = smallModel(gatherPositions, { table });
    expect(grow(model, 30)).toEqual([`"table" grew from 9 to 30 rows for inputs of 30 tokens: its rows repeat.`]);
    expect(await rowsFor(model, tokens(30))).toEqual(Array.from({ length: 30 }, (_, r) => rowOf(table, r % 9)));
    expect(initializer(model, "table")).toBeUndefined();
  });

  test("CumSum of what is not padding: the rows before the first position are not repeated", async () => {
    const table = learned(12);
    const nodes = [...countUnpadded, node("Gather", ["table", "positions"], ["out"])];
    const model = smallModel(nodes, { table });
    expect(grow(model, 25)).toEqual([
      `"table" grew from 12 to 27 rows for inputs of 25 tokens (the first position is row 2): its rows repeat.`,
    ]);
    const rows = await rowsFor(model, [...tokens(22), 1, 1, 1]);
    const expected = Array.from({ length: 22 }, (_, position) => rowOf(table, 2 + (position % 10)));
    expect(rows).toEqual([...expected, rowOf(table, 1), rowOf(table, 1), rowOf(table, 1)]);
  });

  test("Slice of the table", async () => {
    const table = learned(9);
    const nodes = [
      node("Shape", ["ids"], ["shape"]),
      node("Slice", ["shape", "axis1", "two"], ["length"]),
      node("Slice", ["table", "axis0", "length", "axis0"], ["out"]),
    ];
    const model = smallModel(nodes, { table, two: list(2) });
    grow(model, 20);
    expect(await rowsFor(model, tokens(20))).toEqual(Array.from({ length: 20 }, (_, r) => rowOf(table, r % 9)));
  });

  test("Slice of stored positions, then Gather: both grow", async () => {
    const table = learned(9);
    const nodes = [
      node("Shape", ["ids"], ["shape"]),
      node("Slice", ["shape", "axis1", "two"], ["length"]),
      node("Slice", ["buffer", "axis0", "length", "axis1"], ["positions"]),
      node("Gather", ["table", "positions"], ["out"]),
    ];
    const buffer = int64([1, 9], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    const model = smallModel(nodes, { table, buffer, two: list(2) });
    expect(grow(model, 20)).toEqual([
      `"buffer" grew from 9 to 20 rows for inputs of 20 tokens: it continues to count.`,
      `"table" grew from 9 to 20 rows for inputs of 20 tokens: its rows repeat.`,
    ]);
    expect(await rowsFor(model, tokens(20))).toEqual(Array.from({ length: 20 }, (_, r) => rowOf(table, r % 9)));
  });

  test("a table that is dequantised before it is read", async () => {
    const codes = tensorOf(
      DataType.UINT8,
      [9, 3],
      learned(9).data.map((value) => 128 + Math.round(value * 100)),
    );
    const scale = float32([], [0.25]);
    const nodes = [
      node("DequantizeLinear", ["codes", "scale", "middle"], ["table"]),
      ...countPositions,
      node("Gather", ["table", "positions"], ["out"]),
    ];
    const model = smallModel(nodes, { codes, scale, middle: tensorOf(DataType.UINT8, [], [128]) });
    grow(model, 20);
    const expected = Array.from({ length: 20 }, (_, r) => rowOf(codes, r % 9).map((code) => (code - 128) / 4));
    expect(await rowsFor(model, tokens(20))).toEqual(expected);
  });

  test("positions that the caller gives", () => {
    const positionIds = valueInfo("position_ids", DataType.INT64, ["batch", "length"]);
    const nodes = [
      node("Gather", ["words", "ids"], ["word"]),
      node("Gather", ["table", "position_ids"], ["position"]),
      node("Add", ["word", "position"], ["out"]),
    ];
    const model = smallModel(nodes, { words: learned(20), table: learned(9) }, ["out"], [ids, positionIds]);
    expect(grow(model, 30)).toEqual([expect.stringMatching(/^"table" grew from 9 to 30 rows/)]);
    expect(initializer(model, "words")!.dims).toEqual([20, 3]);
  });
});

describe("what else reads a table", () => {
  test("is not disturbed", async () => {
    const table = learned(9);
    const nodes = [
      ...countPositions,
      node("Gather", ["table", "positions"], ["rows"]),
      node("ReduceSum", ["table", "axis0"], ["total"], { keepdims: 1 }),
      node("Add", ["rows", "total"], ["out"]),
    ];
    const model = smallModel(nodes, { table });
    const before = await rowsFor(model, tokens(9));
    grow(model, 20);
    expect(initializer(model, "table")).toEqual(table);
    expect((await rowsFor(model, tokens(20))).slice(0, 9)).toEqual(before);
  });

  test("by position as well shares the grown table", () => {
    const nodes = [
      ...countPositions,
      node("Gather", ["table", "positions"], ["a"]),
      node("Gather", ["table", "positions"], ["b"]),
      node("Add", ["a", "b"], ["out"]),
    ];
    const model = smallModel(nodes, { table: learned(9) });
    expect(grow(model, 20)).toHaveLength(1);
    expect(model.graph.initializer.filter(({ dims }) => dims[0]?.toNumber() === 20)).toHaveLength(1);
  });
});

const wave = (which: number): ((x: number) => number) => (which === 0 ? Math.sin : Math.cos);

const rotary = (cosines: Tensor, sines: Tensor): ModelProto => {
  const x = valueInfo("x", DataType.FLOAT, ["batch", 2, "length", 4]);
  const position = valueInfo("position_ids", DataType.INT64, ["batch", "length"]);
  const nodes = [node("RotaryEmbedding", ["x", "cosines", "sines", "position_ids"], ["out"])];
  return smallModel(nodes, { cosines, sines }, ["out"], [x, position], 23);
};
const cache = (f: (x: number) => number): Tensor =>
  float32(
    [16, 2],
    Array.from({ length: 32 }, (_, i) => f((i >> 1) / 10_000 ** ((i % 2) / 2))),
  );

describe("tables with a law continue by it", () => {
  test.each([
    ["alternating sine and cosine", (p: number, j: number) => wave(j % 2)(p / 10_000 ** ((2 * (j >> 1)) / 6))],
    ["sines, then cosines", (p: number, j: number) => wave(Math.floor(j / 3))(p / 10_000 ** ((2 * (j % 3)) / 6))],
    ["tensor2tensor's series", (p: number, j: number) => wave(Math.floor(j / 3))(p / 10_000 ** ((j % 3) / 2))],
  ])("sinusoids: %s", async (_, law) => {
    const at = (row: number): number[] => Array.from({ length: 6 }, (__, j) => Math.fround(law(row, j)));
    const table = float32([40, 6], Array.from({ length: 40 }, (__, row) => at(row)).flat());
    const model = smallModel(gatherPositions, { table });
    expect(grow(model, 100)).toEqual([expect.stringMatching(/its sinusoids continue/)]);
    expect(await rowsFor(model, tokens(100), 6)).toEqual(Array.from({ length: 100 }, (__, row) => at(row)));
  });

  test("rotary caches", () => {
    const model = rotary(cache(Math.cos), cache(Math.sin));
    expect(grow(model, 50)).toHaveLength(2);
    const grown = model.graph.initializer.map(decodeTensor).filter(({ dims }) => dims[0] === 50);
    expect(grown).toHaveLength(2);
    expect(grown[0]!.data[2 * 49]).toBeCloseTo(Math.cos(49), 6);
    expect(grown[1]!.data[2 * 49 + 1]).toBeCloseTo(Math.sin(0.49), 6);
  });

  test("rotary caches of onnxruntime's operator, given the first position", () => {
    const x = valueInfo("x", DataType.FLOAT, ["batch", 2, "length", 4]);
    const nodes = [node("com.microsoft:RotaryEmbedding", ["x", "axis0", "cosines", "sines"], ["out"])];
    const model = smallModel(nodes, { cosines: cache(Math.cos), sines: cache(Math.sin) }, ["out"], [x]);
    expect(grow(model, 50)).toEqual([
      `"cosines" grew from 16 to 50 rows for inputs of 50 tokens: its sinusoids continue.`,
      `"sines" grew from 16 to 50 rows for inputs of 50 tokens: its sinusoids continue.`,
    ]);
  });

  test("rotary caches of an unknown law are refused", () => {
    expect(() => grow(rotary(learned(16, 2), learned(16, 2)), 50)).toThrow(/rotary cache with unknown frequencies/);
  });
});

test("interpolation keeps the first and the last row, and states its cost", async () => {
  const table = learned(9);
  const model = smallModel(gatherPositions, { table });
  expect(grow(model, 17, "interpolate")).toEqual([expect.stringMatching(/also changes the output for short inputs/)]);
  const rows = await rowsFor(model, tokens(17));
  for (let row = 0; row < 9; row++) expect(rows[2 * row]).toEqual(rowOf(table, row));
  for (let row = 0; row < 8; row++) {
    const middle = rowOf(table, row).map((value, j) => (value + rowOf(table, row + 1)[j]!) / 2);
    rows[2 * row + 1]!.forEach((value, j) => expect(value).toBeCloseTo(middle[j]!, 6));
  }
});

describe("nothing to do", () => {
  test("where the table reaches the length: not a byte changes", () => {
    const model = smallModel(gatherPositions, { table: learned(64) });
    Graph.of(model).removeDead();
    const before = encodeModel(model);
    expect(grow(model, 64)).toEqual(["The position tables already reach 64 tokens. Nothing was changed."]);
    expect(encodeModel(model)).toEqual(before);
  });

  test("where no table is read by position", () => {
    const model = smallModel([node("Gather", ["table", "ids"], ["out"])], { table: learned(9) });
    expect(grow(model, 64)).toEqual([expect.stringMatching(/^No table limits the length of the input/)]);
  });
});

describe("a causal buffer", () => {
  const sliced = [
    node("Shape", ["ids"], ["shape"]),
    node("Slice", ["shape", "axis1", "two"], ["length"]),
    node("Slice", ["buffer", "axis0", "length", "rowAxis"], ["rows"]),
    node("Slice", ["rows", "axis0", "length", "columnAxis"], ["square"]),
    node("Cast", ["square"], ["out"], { to: DataType.FLOAT }),
  ];
  const constants = { two: list(2), rowAxis: list(2), columnAxis: list(3) };

  test("continues", async () => {
    const triangle = Array.from({ length: 100 }, (_, i) => Number(i % 10 <= Math.floor(i / 10)));
    const model = smallModel(sliced, { ...constants, buffer: bool([1, 1, 10, 10], triangle) });
    expect(grow(model, 24)).toEqual([expect.stringMatching(/from 10 to 24 rows .* its causal triangle continues/)]);
    const rows = await rowsFor(model, tokens(24), 24);
    rows.forEach((row, i) => expect(row).toEqual(Array.from({ length: 24 }, (_, j) => Number(j <= i))));
  });

  test("of a window is refused", () => {
    const window = Array.from({ length: 100 }, (_, i) => Number(Math.abs((i % 10) - Math.floor(i / 10)) < 3));
    const model = smallModel(sliced, { ...constants, buffer: bool([1, 1, 10, 10], window) });
    expect(() => grow(model, 24)).toThrow(
      /"buffer" \[1, 1, 10, 10\], read by Slice \(output "rows"\), .*not a causal mask/,
    );
  });
});

describe("refused by name", () => {
  test("an index that is clamped", () => {
    const nodes = [
      ...countPositions,
      node("Min", ["positions", "last"], ["clamped"]),
      node("Gather", ["table", "clamped"], ["out"]),
    ];
    const model = smallModel(nodes, { table: learned(9), last: int64([], [8]) });
    expect(() => grow(model, 20)).toThrow(
      /Gather \(output "out"\) does not read a separate row of "table".*clipped or wraps/,
    );
  });

  test("a table of relative positions", () => {
    const nodes = [
      ...countPositions,
      node("Unsqueeze", ["positions", "axis1"], ["query"]),
      node("Sub", ["positions", "query"], ["distance"]),
      node("Add", ["distance", "middle"], ["index"]),
      node("Gather", ["table", "index"], ["out"]),
    ];
    const model = smallModel(nodes, { table: learned(17), middle: int64([], [8]) });
    expect(grow(model, 8)).toEqual([expect.stringMatching(/^No table/)]);
    expect(() => grow(model, 20)).toThrow(
      /Gather \(output "out"\) looks up "table" beyond its 17 rows .*relative positions/,
    );
  });

  test("a stored index without a law", () => {
    const nodes = [
      node("Shape", ["ids"], ["shape"]),
      node("Slice", ["shape", "axis1", "two"], ["length"]),
      node("Slice", ["buffer", "axis0", "length", "axis1"], ["positions"]),
      node("Gather", ["table", "positions"], ["out"]),
    ];
    const buffer = int64([1, 9], [0, 1, 4, 3, 2, 5, 6, 8, 7]);
    const model = smallModel(nodes, { table: learned(9), buffer, two: list(2) });
    expect(() => grow(model, 20)).toThrow(
      /"buffer" \[1, 9\], read by Slice \(output "positions"\).*neither count nor stay the same/,
    );
  });

  test("an input of fixed shape, unless it is long enough", () => {
    const fixed = valueInfo("ids", DataType.INT64, ["batch", 12]);
    const model = smallModel(gatherPositions, { table: learned(12) }, ["out"], [fixed]);
    expect(grow(model, 12)).toEqual([expect.stringMatching(/^The model takes inputs of exactly 12 tokens/)]);
    expect(() => grow(model, 13)).toThrow(/inputs of fixed shape, "ids" \[\?, 12\]/);
  });

  test("an input without a shape", () => {
    const shapeless = valueInfo("ids", DataType.INT64, null);
    const model = smallModel(gatherPositions, { table: learned(12) }, ["out"], [shapeless]);
    expect(() => grow(model, 20)).toThrow(/the input "ids" declares no shape/);
  });

  test("a length that is written into the graph", () => {
    const nodes = [node("Gather", ["words", "ids"], ["word"]), node("Add", ["word", "rows"], ["out"])];
    const rows = tensorOf(DataType.FLOAT, [1, 9, 3], learned(9).data);
    const model = smallModel(nodes, { words: learned(20), rows });
    expect(() => grow(model, 20)).toThrow(
      /position rows are folded into the constant "rows" \[1, 9, 3\] that Add \(output "out"\)/,
    );
  });
});
