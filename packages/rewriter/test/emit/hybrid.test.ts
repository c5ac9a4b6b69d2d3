import {
  averagedQueries,
  createFeatureMap,
  createKernels,
  exponentialFeatures32,
  exponentialForm,
  hybridAttention,
  hybridAttention32,
  type FeatureMapDescription,
} from "@favor/core";
import { decodeModel, encodeModel } from "@favor/onnx";
import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import type { ConvertOptions, ExactKeys } from "../../src/options.ts";
import {
  attentionModel,
  openAttention,
  runAttention,
  type AttentionInputs,
  type AttentionModel,
} from "./attention-model.ts";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";
import { made } from "./made-features.ts";
import { randomInputs } from "./reference.ts";

const shape: AttentionModel = { heads: 2, dim: 16, valueDim: 12, self: true };
const tolerance = 2e-5;

/** What @favor/core computes in float64, head by head. */
function referenceHybrid(
  { heads, dim, valueDim = dim, causal = false, self = false }: AttentionModel,
  { batch, length, query, key, value, mask }: AttentionInputs,
  descriptions: readonly FeatureMapDescription[],
  { window, chosenBlocks = 0, group = 16 }: ExactKeys,
): Float64Array {
  const out = new Float64Array(batch * heads * length * valueDim);
  const part = (values: Float32Array, at: number, width: number, scale: number): Float64Array =>
    Float64Array.from(values.subarray(at * length * width, (at + 1) * length * width), (x) => x * scale);
  for (let at = 0; at < batch * heads; at++) {
    const description = descriptions[at % heads];
    const keyMask = mask?.subarray(Math.floor(at / heads) * length, (Math.floor(at / heads) + 1) * length);
    const [q, k] = [part(query, at, dim, dim ** -0.25), part(key, at, dim, dim ** -0.25)];
    const head = hybridAttention(q, k, part(value, at, valueDim, 1), {
      dim,
      valueDim,
      window,
      near: self,
      chosenBlocks,
      selector: averagedQueries({ group }),
      causal,
      ...(description && { featureMap: createFeatureMap(description) }),
      ...(keyMask && { keyMask }),
    });
    out.set(head, at * length * valueDim);
  }
  return out;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const apart = Math.abs(a[i]! - b[i]!);
    if (!(apart <= most)) most = apart;
  }
  return most;
}

/** Real keys at the beginning of the first row, at the end of the second with a hole, none in the third. */
function paddingOf(batch: number, length: number): Float32Array {
  const shown = Math.ceil(length * 0.7);
  return Float32Array.from({ length: batch * length }, (_, i) => {
    const [row, at] = [Math.floor(i / length), i % length];
    return Number(row === 0 ? at < shown : row === 1 && at >= length - shown && at % 11 !== 3);
  });
}

const inputsOf = (model: AttentionModel, batch: number, length: number, scale?: number): AttentionInputs => ({
  ...randomInputs(model, batch, length, scale),
  ...(model.padding && { mask: paddingOf(batch, length) }),
});

/** The largest difference of a converted attention in onnxruntime from the definition, at several lengths. */
async function worstDifference(
  model: AttentionModel,
  exactKeys: ExactKeys,
  lengths: readonly number[],
  options: ConvertOptions = {},
  scale?: number,
): Promise<number> {
  const { model: converted, sites } = convertAttention(attentionModel(model), {
    cross: true,
    count: 24,
    exactKeys,
    ...options,
  });
  expect(sites[0]!.exactKeys).toEqual({ chosenBlocks: 0, group: 16, ...exactKeys });
  const session = await openAttention(converted);
  let worst = 0;
  for (const length of lengths) {
    const inputs = inputsOf(model, model.padding ? 3 : 1, length, scale);
    const out = await runAttention(session, model, inputs);
    const expected = referenceHybrid(model, inputs, sites[0]!.featureMaps!, exactKeys);
    const apart = largestDifference(out, expected);
    if (!(apart <= worst)) worst = apart;
  }
  return worst;
}

const forms: readonly [string, AttentionModel][] = [
  ["both ways", shape],
  ["both ways, padding", { ...shape, padding: true }],
  ["causal", { ...shape, causal: true }],
  ["causal, padding", { ...shape, causal: true, padding: true }],
];

describe.each(forms)("equals the float64 definition, %s", (_, model) => {
  const lengths = [1, 2, 15, 16, 17, 32, 33, 48, 63, 64, 65, 81, 113, 200];

  test.each<ExactKeys>([{ window: 16 }, { window: 16, chosenBlocks: 1 }, { window: 32, chosenBlocks: 2, group: 8 }])(
    "%j",
    async (exactKeys) => {
      expect(await worstDifference(model, exactKeys, lengths)).toBeLessThan(tolerance);
    },
  );

  test("without far field", async () => {
    const worst = await worstDifference(model, { window: 16, chosenBlocks: 2 }, [1, 16, 65, 150], {
      featureMaps: [[]],
    });
    expect(worst).toBeLessThan(tolerance);
  });

  test.each(Object.keys(made))("%s feature maps made elsewhere", async (kind) => {
    const featureMaps = [[0, 1].map((head) => made[kind]!(shape.dim, head))];
    const worst = await worstDifference(model, { window: 16, chosenBlocks: 2 }, [100], { featureMaps });
    expect(worst).toBeLessThan(tolerance);
  });
});

describe("equals the float64 definition", () => {
  test("heads of 64, blocks of 64", async () => {
    const model = { ...shape, dim: 64, valueDim: 64 };
    expect(await worstDifference(model, { window: 64, chosenBlocks: 1 }, [192, 193, 300])).toBeLessThan(tolerance);
  });

  test("sharp attention, where estimates of single keys are far off", async () => {
    const model = { ...shape, padding: true };
    expect(await worstDifference(model, { window: 16, chosenBlocks: 2 }, [130], {}, 8)).toBeLessThan(tolerance);
  });

  test.each([false, true])("cross-attention has chosen blocks alone, padding: %s", async (padding) => {
    const model = { ...shape, self: false, padding };
    const worst = await worstDifference(model, { window: 16, chosenBlocks: 2 }, [1, 16, 33, 64, 100]);
    expect(worst).toBeLessThan(tolerance);
  });
});

/** A converted model's bytes. */
const bytes = (model: AttentionModel, options: ConvertOptions): Uint8Array =>
  encodeModel(convertAttention(attentionModel(model), { count: 8, cross: true, ...options }).model);

test("no window is plain FAVOR, and so is cross-attention without chosen blocks", () => {
  expect(bytes(shape, { exactKeys: { window: 0 } })).toEqual(bytes(shape, {}));
  expect(bytes(shape, { exactKeys: [undefined] })).toEqual(bytes(shape, {}));
  const cross = { ...shape, self: false };
  expect(bytes(cross, { exactKeys: { window: 16 } })).toEqual(bytes(cross, {}));
});

test("a causal output never depends on a later position, to the bit", async () => {
  const model = { ...shape, causal: true, padding: true };
  const exactKeys = { window: 16, chosenBlocks: 1 };
  const session = await openAttention(convertAttention(attentionModel(model), { count: 24, exactKeys }).model);
  const length = 100;
  const inputs = { ...randomInputs(model, 1, length), mask: Float32Array.from({ length }, (_, i) => Number(i >= 3)) };
  const out = await runAttention(session, model, inputs);
  for (const at of [2, 20, 50, 63, 64, 90]) {
    const changed = { ...inputs, key: inputs.key.slice(), value: inputs.value.slice(), query: inputs.query.slice() };
    for (const [rows, width] of [
      [changed.key, 16],
      [changed.value, 12],
      [changed.query, 16],
    ] as const) {
      for (let head = 0; head < 2; head++) rows.fill(9, (head * length + at) * width, (head * length + at + 1) * width);
    }
    const mask = inputs.mask.slice();
    mask.fill(1, at, at + 1);
    const other = await runAttention(session, model, { ...changed, mask });
    for (let head = 0; head < 2; head++) {
      const rows = (values: Float32Array, to: number) => values.slice(head * length * 12, (head * length + to) * 12);
      expect(rows(other, at)).toEqual(rows(out, at));
      expect(rows(other, at + 1)).not.toEqual(rows(out, at + 1));
    }
  }
});

test("a row of a batch is what it is alone, and padding changes nothing", async () => {
  const model = { ...shape, padding: true };
  const exactKeys = { window: 16, chosenBlocks: 2 };
  const session = await openAttention(convertAttention(attentionModel(model), { count: 24, exactKeys }).model);
  const [length, shown] = [130, 91];
  const inputs = inputsOf(model, 2, length);
  const both = await runAttention(session, model, inputs);
  const cut = (values: Float32Array, width: number): Float32Array =>
    Float32Array.from({ length: 2 * shown * width }, (_, i) => {
      const head = Math.floor(i / (shown * width));
      return values[head * length * width + (i % (shown * width))]!;
    });
  const alone = await runAttention(session, model, {
    batch: 1,
    length: shown,
    query: cut(inputs.query, 16),
    key: cut(inputs.key, 16),
    value: cut(inputs.value, 12),
    mask: new Float32Array(shown).fill(1),
  });
  expect(largestDifference(alone, cut(both, 12))).toBeLessThan(tolerance);
});

test("from 1,025 positions on, keys are averaged to choose blocks", async () => {
  const model: AttentionModel = { heads: 1, dim: 16, self: true };
  const [length, window, chosenBlocks] = [1_028, 64, 4];
  const { model: converted, sites } = convertAttention(attentionModel(model), {
    count: 16,
    exactKeys: { window, chosenBlocks },
  });
  const inputs = randomInputs(model, 1, length, 3);
  const out = await runAttention(await openAttention(converted), model, inputs);
  const features = exponentialFeatures32(exponentialForm(sites[0]!.featureMaps![0]!), { scale: 1 / 4 });
  const expectedWith = (keyGroup: number): Float32Array =>
    hybridAttention32(
      createKernels(),
      inputs.query,
      inputs.key,
      inputs.value,
      { heads: 1, queryRows: length, keyRows: length, dim: 16 },
      features,
      { window, chosenBlocks, scale: 1 / 4, selector: averagedQueries({ keyGroup }) },
    );
  expect(largestDifference(out, expectedWith(2))).toBeLessThan(1e-4);
  expect(largestDifference(out, expectedWith(1))).toBeGreaterThan(1e-3);
});

const convert =
  (options: ConvertOptions, model: AttentionModel = shape) =>
  () =>
    convertAttention(attentionModel(model), { count: 8, cross: true, ...options });

describe("refused", () => {
  test.each<[ConvertOptions, RegExp]>([
    [{ exactKeys: { window: 24 } }, /options.exactKeys.window: expected 0 or a multiple of 16/],
    [{ exactKeys: { window: 0, chosenBlocks: 2 } }, /the width of the chosen blocks/],
    [{ exactKeys: [{ window: 16, chosenBlocks: 0.5 }] }, /options.exactKeys.chosenBlocks/],
    [{ exactKeys: { window: 16, chosenBlocks: 1, group: 5 } }, /options.exactKeys.group: .*divides the window/],
    [{ exactKeys: { window: 16 }, features: "relu" }, /options.features: .*exponential form/],
    [{ exactKeys: { window: 16 }, features: "exact" }, /options.features: .*exponential form/],
    [{ exactKeys: { window: 16 }, stateful: true }, /no exact keys if options.stateful is set/],
    [{ featureMaps: [[]] }, /options.featureMaps\[0\]: .*because no key is exact/],
    [
      { exactKeys: { window: 16 }, featureMaps: [[0, 1].map(() => ({ version: 1, kind: "elu", dim: 16 }) as const)] },
      /features of site 0: .*exponential form/,
    ],
  ])("%j", (options, message) => expect(convert(options)).toThrow(message));

  test.skipIf(!hasSharedZoo)("attention with ALiBi (skipped if ../shared/zoo is absent)", () => {
    const model = decodeModel(sharedZoo.read("bloom-dy-eager-op18-dyn.onnx"));
    expect(() => convertAttention(model, { count: 8, exactKeys: { window: 16 } })).toThrow(
      expect.objectContaining({ code: "cannot-have-exact-keys", message: expect.stringContaining("ALiBi") }),
    );
    expect(() => convertAttention(model, { count: 8, exactKeys: [] })).not.toThrow();
  });

  test("below opset 11", () => {
    expect(convert({ exactKeys: { window: 16 } }, { ...shape, self: false, opset: 10 })).not.toThrow();
    const layer = { ...shape, self: false, opset: 10 };
    expect(convert({ exactKeys: { window: 16, chosenBlocks: 1 } }, layer)).toThrow(
      expect.objectContaining({ code: "cannot-have-exact-keys", message: expect.stringContaining("opset 10") }),
    );
  });
});
