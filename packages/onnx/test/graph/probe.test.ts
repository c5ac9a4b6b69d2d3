import { describe, expect, test } from "vitest";
import { Graph } from "../../src/graph/graph.ts";
import { probePair } from "../../src/graph/probe.ts";
import { makeNode } from "../../src/graph/node.ts";
import { inferShapes } from "../../src/graph/shape-functions.ts";
import { encodeModel } from "../../src/model/encode.ts";
import { DataType } from "../../src/model/proto.ts";
import { tensorOf } from "../../src/evaluate/tensor.ts";
import { hidden, hiddenStates, layerModel } from "@favor/test-support/layer";
import type { Layer, LayerInput } from "@favor/test-support/layer";
import { openSession } from "@favor/test-support/onnxruntime";
import { RandomStream, streamPurpose } from "@favor/core";
import { Tensor } from "onnxruntime-node";

/** Dimensions of the model's output at both probes. */
function shapes(write: (b: Layer) => string, inputs: LayerInput[] = [hiddenStates]): (readonly number[] | undefined)[] {
  const pair = probePair(Graph.of(layerModel(write, { inputs })));
  if ("conflict" in pair) throw new Error(pair.conflict.message);
  return [pair.first, pair.second].map((probe) => probe?.info.get("out")?.dims);
}

/** The length by sums and differences of itself. */
function reshapedByArithmetic(b: Layer): string {
  const length = b.dimension("x", 1);
  const same = b.op("Sub", [b.op("Add", [length, length]), b.op("Mul", [length, b.integers([1])])]);
  return b.op("Reshape", ["x", b.concat([b.integers([-1]), same, b.integers([4, hidden / 4])], 0)]);
}

/** Logits of queries and keys whose lengths are constants of the reshapes. */
function bakedLogits(b: Layer): string {
  const [queries, keys] = [b.reshape("x", [-1, 11, hidden]), b.reshape("memory", [-1, 7, hidden])];
  return b.op("MatMul", [queries, b.transpose(keys, [0, 2, 1])]);
}

describe("probing", () => {
  test("free dimensions have other sizes in the second probe, and reshapes follow them", () => {
    const [first, second] = shapes((b) => b.reshape("x", [-1, 0, 2, hidden / 2]));
    expect(first!.slice(2)).toEqual([2, hidden / 2]);
    expect(second!.slice(2)).toEqual([2, hidden / 2]);
    expect(first!.slice(0, 2)).not.toEqual(second!.slice(0, 2));
  });

  test("a length that the graph insists on is found, and the batch varied alone", () => {
    const [first, second] = shapes((b) => b.op("Add", ["x", b.weights([1, 11, hidden])]));
    expect([first![1], second![1]]).toEqual([11, 11]);
    expect(first![0]).not.toBe(second![0]);
  });

  test("a batch that the graph insists on is found where it takes a batch of one as well", () => {
    const pair = probePair(
      Graph.of(layerModel((b) => b.op("Add", ["x", b.weights([2, 1, hidden])]), { inputs: [hiddenStates] })),
    );
    if ("conflict" in pair) throw new Error(pair.conflict.message);
    expect([pair.first.sizes.batch, pair.second?.sizes.batch].toSorted()).toEqual([1, 2]);
    expect(pair.second?.sizes.length).not.toBe(pair.first.sizes.length);
  });

  test("two lengths that the graph insists on are each found, and the batch varied alone", () => {
    const memory: LayerInput = { ...hiddenStates, name: "memory", dims: ["batch", "keys", hidden] };
    const [first, second] = shapes(bakedLogits, [hiddenStates, memory]);
    expect([first!.slice(1), second!.slice(1)]).toEqual([
      [11, 7],
      [11, 7],
    ]);
    expect(first![0]).not.toBe(second![0]);
  });

  test("arithmetic on shapes is followed through any detour", () => {
    const [first] = shapes(reshapedByArithmetic);
    expect(first).toHaveLength(4);
    expect(first!.slice(2)).toEqual([4, 4]);
  });
});

/** Random dimensions, a node that fits them, and onnxruntime's word on the shape of its output. */
const kinds: Record<string, (b: Layer, dims: readonly number[], pick: (below: number) => number) => string> = {
  Transpose: (b, dims, pick) => {
    const turn = pick(dims.length);
    return b.transpose(
      "x",
      dims.map((_, axis) => (axis + turn) % dims.length),
    );
  },
  ReduceMean: (b, dims, pick) =>
    b.op("ReduceMean", ["x"], { axes: { ints: [pick(dims.length)] }, keepdims: { int: pick(2) } }),
  Reshape: (b, dims) => b.reshape("x", [0, -1, ...dims.slice(2)]),
  Unsqueeze: (b, dims, pick) => b.unsqueeze("x", [pick(dims.length + 1)]),
  Slice: (b, dims, pick) => b.slice("x", pick(dims.length), pick(3), 9),
  Concat: (b, dims, pick) => b.concat(["x", "x"], pick(dims.length)),
  Gather: (b, dims, pick) => b.op("Gather", ["x", b.integers([0, 0, 0])], { axis: { int: pick(dims.length) } }),
  Expand: (b, dims) => b.op("Expand", ["x", b.integers([2, ...dims.map(() => 1)])]),
  Flatten: (b, dims, pick) => b.op("Flatten", ["x"], { axis: { int: pick(dims.length + 1) } }),
  MatMul: (b, dims) => b.op("MatMul", ["x", b.weights([dims.at(-1)!, 3])]),
  Einsum: (b, dims) => b.op("Einsum", ["x", b.weights([dims.at(-1)!, 3])], { equation: { string: "...d,de->e..." } }),
  Tile: (b, dims, pick) => b.op("Tile", ["x", b.integers(dims.map(() => 1 + pick(2)))]),
  Pad: (b, dims, pick) => b.op("Pad", ["x", b.integers([...dims, ...dims].map(() => pick(2)))]),
  Split: (b, dims, pick) => b.ops("Split", ["x"], 1, { axis: { int: pick(dims.length) } })[0]!,
  Shape: (b) => b.cast(b.op("Shape", ["x"]), DataType.FLOAT),
  CumSum: (b) => b.op("CumSum", ["x", b.integer(0)]),
  ArgMax: (b, dims, pick) => b.cast(b.op("ArgMax", ["x"], { axis: { int: pick(dims.length) } }), DataType.FLOAT),
  GridSample: (b, dims, pick) => {
    const image = b.reshape("x", [1, 1, dims[0]!, -1]);
    return b.op("GridSample", [image, b.weights([1, 1 + pick(4), 1 + pick(4), 2])]);
  },
  RoiAlign: (b, dims, pick) => {
    const [image, count] = [b.reshape("x", [1, 1, dims[0]!, -1]), 1 + pick(3)];
    const size = { output_height: { int: 1 + pick(4) }, output_width: { int: 1 + pick(4) } };
    const batch = b.integers(Array.from({ length: count }, () => 0));
    return b.op("RoiAlign", [image, b.weights([count, 4]), batch], size);
  },
  QLinearSigmoid: (b) => {
    const [scale, zero] = [b.scalar(0.1), b.cast(b.integer(0), DataType.UINT8)];
    const numbers = b.op("QuantizeLinear", ["x", scale, zero]);
    const made = b.op("QLinearSigmoid", [numbers, scale, zero, scale, zero], {}, { domain: "com.microsoft" });
    return b.op("DequantizeLinear", [made, scale, zero]);
  },
  QLinearConcat: (b, dims, pick) => {
    const [scale, zero] = [b.scalar(0.1), b.cast(b.integer(0), DataType.UINT8)];
    const part = [b.op("QuantizeLinear", ["x", scale, zero]), scale, zero];
    const attributes = { axis: { int: pick(dims.length) } };
    const made = b.op("QLinearConcat", [scale, zero, ...part, ...part], attributes, { domain: "com.microsoft" });
    return b.op("DequantizeLinear", [made, scale, zero]);
  },
};

describe("shapes agree with onnxruntime at random dimensions", () => {
  test.each(Object.keys(kinds))("of %s", async (kind) => {
    const random = new RandomStream({ seed: 5, purpose: streamPurpose.sampling, layer: kind.length });
    const pick = (below: number): number => Math.floor(random.uniform() * below);
    for (let round = 0; round < 4; round++) {
      const dims = Array.from({ length: 2 + pick(3) }, () => 1 + pick(6));
      const model = layerModel((b) => kinds[kind]!(b, dims, pick), {
        inputs: [{ name: "x", dataType: DataType.FLOAT, dims }],
      });
      const session = await openSession(encodeModel(model));
      const size = dims.reduce((a, b) => a * b, 1);
      const { out } = await session.run({ x: new Tensor("float32", new Float32Array(size), dims) });
      const pair = probePair(Graph.of(model));
      if ("conflict" in pair) throw new Error(pair.conflict.message);
      expect(pair.first.info.get("out")?.dims).toEqual(out!.dims);
    }
  });

  test("an operator that is not known has no shape", () => {
    expect(inferShapes(makeNode("NoSuchOperator", [], []), [], new Map())).toBeUndefined();
  });
});

/** Shapes of what an operator makes of inputs of the given shapes. */
const infer = (opType: string, dims: number[][], attributes = {}, outputs = 1) =>
  inferShapes(
    makeNode(
      opType,
      dims.map((_, i) => `in${i}`),
      Array.from({ length: outputs }, (_, i) => `out${i}`),
      { attributes },
    ),
    dims.map((given) => ({ dims: given, dataType: DataType.FLOAT })),
    new Map([["", 17]]),
  )!.map((shape) => shape!.dims);

const opsets = new Map([["", 17]]);
const info = (dims: number[]) => ({ dims, dataType: DataType.FLOAT });
const list = (...data: number[]) => {
  const value = tensorOf(DataType.INT64, [data.length], data);
  return { dims: value.dims, dataType: value.dataType, value };
};
const unknownList = { dims: [2], dataType: DataType.INT64 };

describe("shapes that do not follow, and sizes that contradict each other", () => {
  test.each([
    ["an input of unknown shape", makeNode("Transpose", ["x"], ["out"]), [undefined]],
    ["an input that is left out", makeNode("Expand", ["x"], ["out"]), [info([2, 3])]],
    ["a target whose values are not known", makeNode("Reshape", ["x", "to"], ["out"]), [info([2, 3]), unknownList]],
    ["bounds whose values are not known", makeNode("Slice", ["x", "a", "b"], ["out"]), [info([5]), list(0), undefined]],
    ["an axis that the input has not", makeNode("Unsqueeze", ["x", "axes"], ["out"]), [info([2]), list(4)]],
    [
      "a permutation of other axes",
      makeNode("Transpose", ["x"], ["out"], { attributes: { perm: { ints: [2, 0] } } }),
      [info([2, 3])],
    ],
    [
      "an equation that is malformed",
      makeNode("Einsum", ["x"], ["out"], { attributes: { equation: { string: "a1->a" } } }),
      [info([2, 3])],
    ],
    ["a scalar that is split", makeNode("Split", ["x"], ["out"]), [info([])]],
  ])("%s: undefined", (_, node, inputs) => expect(inferShapes(node, inputs, opsets)).toBeUndefined());

  test.each([
    ["Add", [info([2, 3]), info([2, 4])], {}, /shapes \[2, 3\] and \[2, 4\] do not broadcast/, [4, 3]],
    ["MatMul", [info([2, 3]), info([4, 2])], {}, /\[2, 3\] and \[4, 2\] cannot be multiplied/, []],
    ["Reshape", [info([2, 3]), list(-1, 4)], {}, /^cannot reshape \[2, 3\] to \[-1, 4\]$/, [4]],
    [
      "Einsum",
      [info([2, 3]), info([4, 5])],
      { equation: { string: "ab,bc->ac" } },
      /label b has the sizes 3 and 4/,
      [4, 3],
    ],
    ["Split", [info([7]), list(2, 3)], {}, /lengths \[2, 3\] do not add up to dimension 0 of \[7\]/, [5]],
    ["Conv", [info([1, 1, 2]), info([1, 1, 3])], {}, /\[1, 1, 2\] is smaller than its kernel/, []],
  ])("%s: a conflict that says what contradicts what", (opType, inputs, attributes, message, wanted) => {
    const node = makeNode(
      opType,
      inputs.map((_, i) => `in${i}`),
      ["out"],
      { attributes },
    );
    const inferred = () => inferShapes(node, inputs, opsets);
    expect(inferred).toThrow(message);
    expect(inferred).toThrow(expect.objectContaining({ node, wanted }));
  });

  test("pooling that may go over the end rounds up", () => {
    const attributes = { kernel_shape: { ints: [2] }, strides: { ints: [2] } };
    const pooled = (more = {}) =>
      inferShapes(
        makeNode("MaxPool", ["x"], ["out"], { attributes: { ...attributes, ...more } }),
        [info([1, 1, 5])],
        opsets,
      )![0]!.dims;
    expect(pooled()).toEqual([1, 1, 2]);
    expect(pooled({ ceil_mode: { int: 1 } })).toEqual([1, 1, 3]);
  });
});

describe("operators that onnxruntime fuses to", () => {
  const microsoft = { domain: "com.microsoft" };

  test("FusedMatMul with its batches transposed takes the first axis for rows", () => {
    const [made] = shapes((b) => {
      const rows = b.transpose("x", [1, 0, 2]);
      const attributes = { transBatchA: { int: 1 }, transBatchB: { int: 1 }, transB: { int: 1 } };
      return b.op("FusedMatMul", [rows, rows], attributes, microsoft);
    });
    const [batch, length] = shapes((b) => b.op("Identity", ["x"]))[0]!;
    expect(made).toEqual([batch, length, length]);
  });

  test("NhwcConv has its channels last, in the data and in the weight", () => {
    const sizes = [
      [2, 9, 7, 3],
      [5, 3, 3, 3],
    ];
    expect(infer("NhwcConv", sizes, { strides: { ints: [2, 1] }, pads: { ints: [1, 1, 1, 1] } })).toEqual([
      [2, 5, 7, 5],
    ]);
  });

  test("RelativePositionBias takes its lengths from inputs", () => {
    const [first, second] = shapes((b) => {
      const length = b.squeeze(b.dimension("x", 1), [0]);
      return b.op(
        "RelativePositionBias",
        [b.weights([32, 4]), length, length],
        { max_distance: { int: 8 } },
        microsoft,
      );
    });
    const [one, two] = shapes((b) => b.op("Identity", ["x"])).map((dims) => dims![1]!);
    expect([first, second]).toEqual([
      [1, 4, one, one],
      [1, 4, two, two],
    ]);
  });

  test("SkipLayerNormalization has the sum as its fourth output, FusedGemm that of Gemm, ReorderOutput its channels", () => {
    expect(infer("SkipLayerNormalization", [[2, 3, 8], [2, 3, 8], [8], [8]], {}, 4)[3]).toEqual([2, 3, 8]);
    expect(
      infer(
        "FusedGemm",
        [
          [6, 8],
          [16, 8],
        ],
        { transB: { int: 1 } },
      ),
    ).toEqual([[6, 16]]);
    expect(infer("ReorderOutput", [[1, 16, 4, 5]], { channels: { int: 10 } })).toEqual([[1, 10, 4, 5]]);
    expect(infer("ReorderOutput", [[1, 16, 4, 5]], { channels: { int: 10 }, channels_last: { int: 1 } })).toEqual([
      [1, 4, 5, 10],
    ]);
  });
});
