import { DataType, encodeModel } from "@favor/onnx";
import { tensorOf, type Tensor } from "@favor/onnx/evaluate";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { Tensor as OrtTensor } from "onnxruntime-node";
import { beforeAll, describe, expect, test } from "vitest";
import { openSession } from "@favor/test-support/onnxruntime";
import { OnnxModel } from "../src/index.ts";
import { backends } from "@favor/test-support/backends";
import { between, int64, signed, smooth, type GradientCase } from "./gradients/case.ts";
import { draw, modelOf } from "./gradients/check.ts";

const int32 = (dims: readonly number[], ...values: number[]): Tensor => tensorOf(DataType.INT32, dims, values);

/** [batch, length, heads x dim] with 2 heads of 4. */
const merged = signed(2, 3, 8);
const split = signed(2, 2, 3, 4);
const two = { num_heads: 2 };
const tables = [between(0.2, 1, 6, 4), between(0.2, 1, 6, 4)];

const attention = (form: string, mask: Tensor | null, attributes = {}): GradientCase => ({
  op: "com.microsoft:Attention",
  form,
  inputs: [merged, smooth(8, 24), smooth(24), mask],
  attributes: { ...two, ...attributes },
});

const multiHead = (form: string, inputs: GradientCase["inputs"], attributes = {}, outputs = 1): GradientCase => ({
  op: "com.microsoft:MultiHeadAttention",
  form,
  inputs,
  outputs,
  attributes: { ...two, ...attributes },
});

const grouped = (form: string, inputs: GradientCase["inputs"], attributes = {}): GradientCase => ({
  op: "com.microsoft:GroupQueryAttention",
  form,
  inputs,
  outputs: 3,
  attributes: { num_heads: 4, kv_num_heads: 2, ...attributes },
});

/** Head dimensions of 16 and full rows: a query of padding gives what it likes in onnxruntime. */
const groups = [signed(2, 3, 64), signed(2, 3, 32), signed(2, 3, 32)];
const full = [null, null, int32([2, 1], 2, 2), int32([], 3)];
const wideTables = [between(0.2, 1, 6, 8), between(0.2, 1, 6, 8)];

const linear = (form: string, inputs: GradientCase["inputs"], attributes = {}): GradientCase => ({
  op: "com.microsoft:LinearAttention",
  form,
  inputs,
  outputs: 2,
  attributes: { q_num_heads: 2, kv_num_heads: 2, update_rule: "linear", ...attributes },
});

const cases: readonly GradientCase[] = [
  attention("without mask", null),
  attention("raw mask", int32([2, 3], 1, 1, 1, 1, 1, 0)),
  attention("raw mask per query", int32([2, 3, 3], 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1, 0)),
  attention("lengths", int32([2], 3, 2)),
  attention("ends and starts", int32([4], 3, 3, 0, 1)),
  attention("causal", null, { unidirectional: 1 }),
  attention("scaled", null, { scale: { float: 0.3 } }),
  multiHead("separate", [merged, merged, merged]),
  multiHead("biases and lengths", [merged, merged, merged, smooth(24), int32([2], 3, 2)]),
  multiHead("raw mask and added bias", [
    merged,
    merged,
    merged,
    null,
    int32([2, 3], 1, 1, 1, 1, 1, 0),
    smooth(1, 2, 3, 3),
  ]),
  multiHead("split keys and values", [merged, signed(2, 2, 5, 4), signed(2, 2, 5, 4)]),
  multiHead("a past", [merged, merged, merged, null, null, null, signed(2, 2, 2, 4), signed(2, 2, 2, 4)], {}, 3),
  multiHead("causal", [merged, merged, merged], { unidirectional: 1 }),
  grouped("separate", [...groups, ...full]),
  grouped("packed", [signed(2, 3, 128), null, null, ...full]),
  grouped("rotary", [...groups, ...full, ...wideTables], { do_rotary: 1 }),
  grouped("rotary, interleaved", [...groups, ...full, ...wideTables], { do_rotary: 1, rotary_interleaved: 1 }),
  grouped("soft-capped", [...groups, ...full], { softcap: { float: 0.8 } }),
  grouped("scaled", [...groups, ...full], { scale: { float: 0.1 } }),
  linear("equal heads", [merged, merged, signed(2, 3, 6)]),
  linear("shared keys and a past", [merged, signed(2, 3, 4), signed(2, 3, 3), signed(2, 1, 4, 3)], { kv_num_heads: 1 }),
  linear("long, scaled", [smooth(1, 130, 8), smooth(1, 130, 8), smooth(1, 130, 6)], { scale: { float: 0.01 } }),
  {
    op: "com.microsoft:RotaryEmbedding",
    form: "split",
    inputs: [signed(2, 2, 3, 8), int64([2, 3], [0, 1, 2, 5, 4, 3]), ...tables],
  },
  { op: "com.microsoft:RotaryEmbedding", form: "one start", inputs: [signed(2, 3, 16), int64([1], [2]), ...tables] },
  {
    op: "com.microsoft:RotaryEmbedding",
    form: "part of a head, interleaved",
    inputs: [signed(2, 3, 24), int64([2, 3], [0, 1, 2, 5, 4, 3]), ...tables],
    attributes: { ...two, rotary_embedding_dim: 8, interleaved: 1 },
  },
  {
    op: "com.microsoft:SkipLayerNormalization",
    inputs: [merged, merged, signed(8), signed(8), signed(8)],
    outputs: 4,
    floats: [0, 3],
  },
  {
    op: "com.microsoft:SkipSimplifiedLayerNormalization",
    inputs: [merged, merged, signed(8), signed(8)],
    outputs: 4,
    floats: [0, 3],
  },
  { op: "com.microsoft:QuickGelu", inputs: [split] },
  { op: "com.microsoft:BiasGelu", inputs: [merged, signed(8)] },
  { op: "com.microsoft:FastGelu", inputs: [merged, signed(8)] },
  {
    op: "com.microsoft:MatMulNBits",
    inputs: [
      smooth(3, 32),
      tensorOf(
        DataType.UINT8,
        [4, 2, 8],
        Array.from({ length: 64 }, (_, i) => (i * 91) % 256),
      ),
      between(0.1, 0.4, 8),
      tensorOf(DataType.UINT8, [4], [0x71, 0x8a, 0x03, 0xf5]),
    ],
    attributes: { K: 32, N: 4, bits: 4, block_size: 16 },
  },
  {
    op: "LayerNormalization",
    form: "with its statistics",
    inputs: [merged, signed(8), signed(8)],
    outputs: 3,
    opset: 17,
  },
];

/** The largest difference of an output from onnxruntime's. */
async function difference(given: GradientCase): Promise<number> {
  const drawing = draw({ opset: 21, ...given });
  const proto = modelOf(drawing);
  const session = await openSession(encodeModel(proto));
  const feeds = [...drawing.inputs].map(([name, { dims, data }]) => [name, Float32Array.from(data), dims] as const);
  const expected = await session.run(
    Object.fromEntries(feeds.map(([name, data, dims]) => [name, new OrtTensor("float32", data, dims)])),
    drawing.losses,
  );
  const model = await OnnxModel.load(proto, { trainable: () => false });
  const found = model.run(Object.fromEntries(feeds.map(([name, data, dims]) => [name, { data, dims }])), {
    outputs: drawing.losses,
  });
  let worst = 0;
  for (const name of drawing.losses) {
    expect(found[name]!.shape).toEqual([...expected[name]!.dims]);
    const values = found[name]!.dataSync();
    for (const [i, value] of (expected[name]!.data as Float32Array).entries()) {
      worst = Math.max(worst, Number.isNaN(values[i]) ? Infinity : Math.abs(values[i]! - value));
    }
  }
  tf.dispose(found);
  model.dispose();
  return worst;
}

describe.each(backends)("onnxruntime's operators on %s give what onnxruntime gives", (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    repairBackend();
  });

  test.each(cases.map((given) => [`${given.op}, ${given.form ?? "plain"}`, given] as const))("%s", async (_, given) => {
    expect(await difference(given)).toBeLessThan(2e-5);
  });
});
