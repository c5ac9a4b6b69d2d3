import * as tf from "@tensorflow/tfjs";
import { describe, expect, it } from "vitest";
import { causalLinearAttention } from "../../src/index.ts";
import { causalByChunks } from "../../src/kernels/causal-chunks.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { gaussians, relativeError } from "../ops/samples.ts";
import { quickest } from "../repairs/processor-time.ts";

interface Sizes {
  readonly groups: number;
  readonly length: number;
  readonly features: number;
  readonly width: number;
}

type Arrays = readonly [q: ArrayLike<number>, k: ArrayLike<number>, v: ArrayLike<number>];

function sample({ groups, length, features, width }: Sizes): Arrays {
  const rows = groups * length;
  return [gaussians(rows * features, 1), gaussians(rows * features, 2), gaussians(rows * width, 3)];
}

/** Never falling within a group: standing still, small steps, and a leap that forgets what was before. */
function references({ groups, length }: Sizes): Float32Array {
  return Float32Array.from({ length: groups * length }, (_, i) => {
    const row = i % length;
    return Math.floor(row / 3) * 0.25 + (row > length / 2 ? 100 : 0) - 7;
  });
}

/** The definition, pair by pair in float64. */
function byDefinition(
  sizes: Sizes,
  [q, k, v]: Arrays,
  r: ArrayLike<number> | undefined,
  reverse: boolean,
): Float64Array {
  const { groups, length, features, width } = sizes;
  const y = new Float64Array(groups * length * width);
  for (let group = 0; group < groups; group++) {
    for (let i = group * length; i < (group + 1) * length; i++) {
      for (let j = group * length; j < (group + 1) * length; j++) {
        if (reverse ? j < i : j > i) continue;
        let weight = r ? Math.exp(-Math.abs(r[i]! - r[j]!)) : 1;
        let product = 0;
        for (let m = 0; m < features; m++) product += q[i * features + m]! * k[j * features + m]!;
        weight *= product;
        for (let c = 0; c < width; c++) y[i * width + c]! += weight * v[j * width + c]!;
      }
    }
  }
  return y;
}

function tensors({ groups, length, features, width }: Sizes, [q, k, v]: Arrays): [tf.Tensor, tf.Tensor, tf.Tensor] {
  const tensor = (x: ArrayLike<number>, columns: number): tf.Tensor =>
    tf.tensor(Float32Array.from(x), [groups, length, columns]);
  return [tensor(q, features), tensor(k, features), tensor(v, width)];
}

const everySize: Sizes[] = [
  { groups: 1, length: 1, features: 1, width: 1 },
  { groups: 2, length: 7, features: 3, width: 2 },
  { groups: 3, length: 37, features: 5, width: 3 },
  { groups: 2, length: 67, features: 9, width: 4 },
  { groups: 1, length: 130, features: 16, width: 33 },
];

onEveryBackend("causalLinearAttention", () => {
  it.each(everySize)("equals its definition: $groups x $length, $features features, width $width", (sizes) => {
    const arrays = sample(sizes);
    for (const r of [undefined, references(sizes)]) {
      const reference = r && tf.tensor2d(r, [sizes.groups, sizes.length]);
      for (const reverse of [false, true]) {
        const y = causalLinearAttention(...tensors(sizes, arrays), { reference, reverse });
        expect(y.shape).toEqual([sizes.groups, sizes.length, sizes.width]);
        expect(relativeError(y.dataSync(), byDefinition(sizes, arrays, r, reverse))).toBeLessThan(2e-6);
      }
    }
  });

  const sizes = { groups: 2, length: 41, features: 5, width: 3 };
  const arrays = sample(sizes);
  const upstream = gaussians(sizes.groups * sizes.length * sizes.width, 9);

  it("its gradients are the differences of the definition, which is linear in each input", () => {
    const r = references(sizes);
    for (const reverse of [false, true]) {
      const reference = tf.tensor2d(r, [sizes.groups, sizes.length]);
      const attend = tf.grads((q, k, v) => causalLinearAttention(q!, k!, v!, { reference, reverse }));
      const dy = tf.tensor(upstream, [sizes.groups, sizes.length, sizes.width]);
      const gradients = attend(tensors(sizes, arrays), dy);
      for (const [i, x] of arrays.entries()) {
        const direction = gaussians(x.length, 20 + i);
        const moved = arrays.map((array, j) => (j === i ? direction : array)) as [
          Float32Array,
          Float32Array,
          Float32Array,
        ];
        const change = byDefinition(sizes, moved, r, reverse);
        const expected = change.reduce((sum, value, l) => sum + value * upstream[l]!, 0);
        const actual = tf.sum(tf.mul(tf.reshape(gradients[i]!, [-1]), tf.tensor1d(direction))).dataSync()[0]!;
        expect(Math.abs(actual - expected)).toBeLessThan(1e-4 * (1 + Math.abs(expected)));
      }
    }
  });

  it("has gradients of gradients, and none for its reference", () => {
    const three = tensors(sizes, arrays);
    const reference = tf.tensor2d(references(sizes), [sizes.groups, sizes.length]);
    const squares = (q: tf.Tensor): tf.Scalar => tf.sum(tf.square(causalLinearAttention(q, three[1], three[2])));
    // squares are a quadratic form q^T A q, its gradient 2 A q: that of the product of the gradient with a constant q
    const fixed = tf.clone(three[0]);
    const product = (q: tf.Tensor): tf.Scalar => tf.sum(tf.mul(tf.grad(squares)(q), fixed));
    const second = tf.grad(product)(three[0]).dataSync();
    expect(relativeError(second, tf.grad(squares)(fixed).dataSync())).toBeLessThan(1e-5);
    const none = tf.grad((r) => causalLinearAttention(...three, { reference: r }))(reference);
    expect(none.dataSync().every((x) => x === 0)).toBe(true);
  });

  it("no row depends on later keys, to the bit, and no group on another", () => {
    const first = causalLinearAttention(...tensors(sizes, arrays));
    const from = 22;
    const later = arrays.map((x) => {
      const columns = x.length / (sizes.groups * sizes.length);
      return Float32Array.from(x, (value, i) => (Math.floor(i / columns) % sizes.length >= from ? 1e6 * value : value));
    }) as [Float32Array, Float32Array, Float32Array];
    const head = (y: tf.Tensor): Float32Array => y.slice([0, 0, 0], [-1, from, -1]).dataSync<"float32">();
    expect(head(causalLinearAttention(...tensors(sizes, later)))).toEqual(head(first));
    // fewer rows are computed in other blocks: the same bits all the same
    const short = tensors(sizes, arrays).map((x) => x.slice([0, 0, 0], [-1, from, -1])) as [
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
    ];
    expect(relativeError(causalLinearAttention(...short).dataSync(), head(first))).toBeLessThan(1e-6);
    const second = tensors(sizes, arrays).map((x) => x.slice([1, 0, 0], [1, -1, -1])) as [
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
    ];
    expect(relativeError(causalLinearAttention(...second).dataSync(), first.slice(1).dataSync())).toBeLessThan(1e-6);
  });

  it("leaves no tensor behind, and between the passes keeps its inputs alone", () => {
    const three = tensors(sizes, arrays);
    const before = tf.memory();
    tf.tidy(() => {
      let alive = 0;
      tf.grads((q, k, v) => {
        const y = causalLinearAttention(q!, k!, v!);
        alive = tf.memory().numBytes - before.numBytes - y.size * 4;
        return y;
      })(three);
      // tfjs counts the saved inputs again; beside them the reference, one number per row
      const inputs = three.reduce((sum, x) => sum + x.size, 0);
      expect(alive).toBe(4 * (inputs + sizes.groups * sizes.length));
    });
    expect(tf.memory().numTensors).toBe(before.numTensors);
  });

  it("chunks of standard operations give the same", () => {
    const reference = tf.tensor2d(references(sizes), [sizes.groups, sizes.length]);
    const [q, k, v] = tensors(sizes, arrays);
    for (const reverse of [false, true]) {
      const inputs = { q, k, v, reference };
      const chunks = causalByChunks({ inputs, backend: tf.backend(), attrs: { reverse } }) as tf.Tensor;
      const expected = byDefinition(sizes, arrays, references(sizes), reverse);
      expect(relativeError(chunks.dataSync(), expected)).toBeLessThan(1e-5);
    }
  });
});

const own = (...x: tf.Tensor[]): tf.Tensor => causalLinearAttention(x[0]!, x[1]!, x[2]!);

it("on a backend without a kernel of its own goes by chunks, with gradients", async () => {
  tf.registerBackend("another", tf.findBackendFactory("cpu"));
  tf.copyRegisteredKernels("cpu", "another");
  if (tf.getKernel("CausalLinearAttention", "another") as tf.KernelConfig | undefined) {
    tf.unregisterKernel("CausalLinearAttention", "another");
  }
  const sizes = { groups: 2, length: 67, features: 9, width: 4 };
  const arrays = sample(sizes);
  await tf.setBackend("cpu");
  const expected = tf
    .grads(own)(tensors(sizes, arrays))
    .map((x) => x.dataSync());
  await tf.setBackend("another");
  const gradients = tf.grads(own)(tensors(sizes, arrays));
  expect(tf.getKernel("CausalLinearAttention", "another").kernelFunc).toBe(causalByChunks);
  for (const [i, x] of gradients.entries()) expect(relativeError(x.dataSync(), expected[i]!)).toBeLessThan(1e-5);
  await tf.setBackend("cpu");
});

it("on wasm takes a fifth of the time of chunks of standard operations at most, forward and with gradients", async () => {
  await tf.setBackend("wasm");
  const [groups, length, features, width] = [2, 2048, 32, 17];
  const [q, k] = [1, 2].map((seed) => tf.randomUniform([groups, length, features], 0, 1, "float32", seed));
  const v = tf.randomUniform([groups, length, width], 0, 1, "float32", 3);
  const reference = tf.zeros([groups, length]);
  const inputs = [q!, k!, v];
  const chunks = (...x: tf.Tensor[]): tf.Tensor =>
    causalByChunks({
      inputs: { q: x[0]!, k: x[1]!, v: x[2]!, reference },
      backend: tf.backend(),
      attrs: { reverse: false },
    }) as tf.Tensor;
  const forward = [own, chunks].map((f) => quickest(() => tf.tidy(() => f(...inputs))));
  const gradients = [own, chunks].map((f) => quickest(() => tf.tidy(() => tf.grads(f)(inputs)[0]!)));
  expect(forward[1]! / forward[0]!).toBeGreaterThan(5);
  expect(gradients[1]! / gradients[0]!).toBeGreaterThan(5);
});

describe("causalLinearAttention refuses", () => {
  const [q, k, v] = [tf.ones([2, 7, 3]), tf.ones([2, 7, 3]), tf.ones([2, 7, 4])];
  it.each([
    ["q of rank 2", () => causalLinearAttention(tf.ones([7, 3]), k, v), /^q: .*found "\[7,3\]"/],
    ["k of another length", () => causalLinearAttention(q, tf.ones([2, 6, 3]), v), /^k: expected \[2,7,3\]/],
    ["v of other groups", () => causalLinearAttention(q, k, tf.ones([1, 7, 4])), /^v: expected \[2,7,4\]/],
    ["whole numbers", () => causalLinearAttention(q, k, tf.ones([2, 7, 4], "int32")), /^v: .*float32.*int32/],
    [
      "a reference of another length",
      () => causalLinearAttention(q, k, v, { reference: tf.zeros([2, 6]) }),
      /^reference: expected \[2,7\]/,
    ],
  ])("%s", (_name, call, message) => {
    expect(call).toThrow(message);
    expect(call).toThrow(expect.objectContaining({ code: "invalid-argument" }));
  });
});
