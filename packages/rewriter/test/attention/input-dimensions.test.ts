import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import { DataType } from "@favor/onnx";
import {
  dim,
  heads,
  hidden,
  hiddenStates,
  layerModel,
  paddingMask,
  reEmissionDifference,
} from "@favor/test-support/layer";
import type { Layer, LayerInput } from "@favor/test-support/layer";

const found = (write: (b: Layer) => string, inputs: readonly LayerInput[]) =>
  inspectAttention(layerModel(write, { inputs }));

const cache = (name: string): LayerInput => ({
  name,
  dataType: DataType.FLOAT,
  dims: ["batch", heads, "past_length", dim],
});

/** Paddings that make the length of `x` so much. */
function padTo(b: Layer, length: number): string {
  const more = b.op("Sub", [b.integers([length]), b.dimension("x", 1)]);
  return b.concat([b.integers([0, 0, 0, 0]), more, b.integers([0])], 0);
}

describe("names of free dimensions", () => {
  const inputs: LayerInput[] = [
    hiddenStates,
    { ...paddingMask, dims: ["batch", "past_length + length"] },
    cache("past.key"),
    cache("past.value"),
  ];

  test("a sum of lengths is as long as its terms together: the mask of a decoder with a past", () => {
    const { sites, notes } = found((b) => {
      const [key, value] = ["past.key", "past.value"].map((past) => b.concat([past, b.project("x")], 2));
      const logits = b.op("Add", [b.logits(b.project("x"), key!), b.paddingBias()]);
      return b.merge(b.op("MatMul", [b.softmax(logits), value!]));
    }, inputs);
    expect(notes).toEqual([]);
    expect(sites.map((site) => site.verdict === "refuse" && site.reasons.map(({ code }) => code))).toEqual([
      ["kv-cache"],
    ]);
  });
});

describe("an image beside a text", () => {
  const image: LayerInput = { name: "image", dataType: DataType.FLOAT, dims: ["batch", 3, "height", "width"] };
  const patch = 8;
  const patches = 16;

  /** Attention among 4 x 4 patches with a table of that many positions, and among at most 64 tokens: as in CLIP. */
  function bothModalities(b: Layer): string {
    const convolved = b.op("Conv", ["image", b.weights([hidden, 3, patch, patch])], {
      strides: { ints: [patch, patch] },
    });
    const rows = b.transpose(b.op("Reshape", [convolved, b.integers([0, hidden, -1])]), [0, 2, 1]);
    const seen = b.attend((s) => b.softmax(s), b.op("Add", [rows, b.weights([1, patches, hidden])]));
    const table = b.op("Slice", [b.weights([64, hidden]), b.integers([0]), b.dimension("x", 1), b.integers([0])]);
    const read = b.attend((s) => b.softmax(b.op("Add", [s, b.paddingBias()])), b.op("Add", ["x", table]));
    const summary = b.op("ReduceMean", [seen], { axes: { ints: [1] } });
    return b.op("Add", [read, summary]);
  }

  test("each has a size of its own, and attention among a fixed number of patches is found", () => {
    const { sites, notes } = found(bothModalities, [hiddenStates, paddingMask, image]);
    expect(notes).toEqual([]);
    expect(sites.map(({ verdict, mask }) => `${verdict}, ${mask.kind}`)).toEqual(["convert, none", "convert, padding"]);
  });

  test("both compute what they did", async () => {
    const sized = { ...image, dims: ["batch", 3, 32, 32] };
    const make = () => layerModel(bothModalities, { inputs: [hiddenStates, paddingMask, sized] });
    expect(inspectAttention(make()).sites).toHaveLength(2);
    expect(await reEmissionDifference(make, true)).toBeLessThan(2e-6);
  });

  test("a product of a fixed size beside one that grows stays: latents, windows", () => {
    const { sites } = found(
      (b) => {
        const pooled = b.op("MatMul", [b.weights([1, 4, 64]), b.op("Pad", ["x", padTo(b, 64)])]);
        return b.op("Add", [
          b.attend((s) => b.softmax(s)),
          b.op("ReduceMean", [b.attend((s) => b.softmax(s), pooled)], { axes: { ints: [1] } }),
        ]);
      },
      [hiddenStates],
    );
    expect(sites).toHaveLength(1);
  });
});

describe("a bias of a logarithm of distances between boxes, as in LayoutLMv3", () => {
  test("is evaluated though the logarithm of 0 is beyond all integers", () => {
    const boxes: LayerInput = { name: "boxes", dataType: DataType.INT64, dims: ["batch", "length", 4] };
    const { sites } = found(
      (b) => {
        const left = b.squeeze(b.slice("boxes", 2, 0, 1), [2]);
        const apart = b.op("Abs", [b.op("Sub", [b.unsqueeze(left, [1]), b.unsqueeze(left, [2])])]);
        const logarithm = b.op("Log", [b.op("Div", [b.cast(apart, DataType.FLOAT), b.scalar(4)])]);
        const far = b.op("Add", [b.cast(b.op("Mul", [logarithm, b.scalar(2)]), DataType.INT64), b.integer(4)]);
        const bucket = b.op("Where", [
          b.op("Less", [apart, b.integer(4)]),
          apart,
          b.op("Min", [far, b.op("Expand", [b.integer(7), b.op("Shape", [far])])]),
        ]);
        const bias = b.transpose(b.op("Gather", [b.weights([8, heads]), bucket]), [0, 3, 1, 2]);
        return b.attend((s) => b.softmax(b.op("Add", [s, bias])));
      },
      [hiddenStates, boxes],
    );
    expect(sites.map((site) => site.verdict === "refuse" && site.reasons.map(({ code }) => code))).toEqual([
      ["additive-bias"],
    ]);
  });
});
