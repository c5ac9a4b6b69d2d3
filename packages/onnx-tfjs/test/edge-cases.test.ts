import { DataType, encodeModel, type ModelProto, type TensorProto } from "@favor/onnx";
import { backends } from "@favor/test-support/backends";
import { openSession } from "@favor/test-support/onnxruntime";
import * as tf from "@tensorflow/tfjs";
import { Tensor } from "onnxruntime-node";
import { beforeAll, describe, expect, it } from "vitest";
import { OnnxModel } from "../src/index.ts";
import { floats, info, integers, model, node, type Attribute } from "./graphs.ts";

const { FLOAT, INT64 } = DataType;

interface Fed {
  readonly dims: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}
const fed = (dims: readonly number[], ...values: number[]): Fed => ({ dims, data: Float32Array.from(values) });
const fedIntegers = (...values: number[]): Fed => ({
  dims: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

/** One node whose first inputs are fed. */
interface EdgeCase {
  readonly op: string;
  readonly form: string;
  readonly feeds: readonly Fed[];
  readonly stored?: readonly TensorProto[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Types of the outputs. Default: one of floats. */
  readonly types?: readonly number[];
}

const first = [integers("axis", [], [0])];
const infinities = [-Infinity, 0.3, -Infinity, 0.7, -Infinity, -Infinity, 0.1, -Infinity];
const sums = (form: string, feed: Fed, reverse: number, exclusive: number): EdgeCase => ({
  op: "CumSum",
  form,
  feeds: [feed],
  stored: first,
  attributes: { reverse, exclusive },
});

/** Where a formula that is right for other numbers is not. */
const cases: readonly EdgeCase[] = [
  sums("a large one first", fed([4], 1, 1, 1, 1e8), 0, 1),
  sums("reverse, a large one at the end", fed([4], 1e8, 1, 1, 1), 1, 0),
  sums("reverse and exclusive, a large one at the end", fed([4], 1e8, 1, 1, 1), 1, 1),
  sums("reverse, NaN", fed([4], 1, NaN, 3, 4), 1, 0),
  sums("reverse and exclusive, infinity", fed([2, 2], Infinity, 1, 2, 3), 1, 1),
  ...[6, 8].map((k) => ({
    op: "TopK",
    form: `${k} of infinities`,
    feeds: [fed([8], ...infinities)],
    stored: [integers("k", [1], [k])],
    types: [FLOAT, INT64],
  })),
  {
    op: "TopK",
    form: "the smallest of infinities, along the first axis",
    feeds: [fed([4, 2], ...infinities.map((x) => -x))],
    stored: [integers("k", [1], [3])],
    attributes: { largest: 0, axis: 0 },
    types: [FLOAT, INT64],
  },
  { op: "Pow", form: "of integers", feeds: [fedIntegers(2, 9, 5), fed([3], 0.5, 1.5, 2)], types: [INT64] },
  {
    op: "Pow",
    form: "of integers by a stored exponent",
    feeds: [fedIntegers(2, 9, 5)],
    stored: [floats("half", [], [0.5])],
    types: [INT64],
  },
  { op: "MatMul", form: "no terms", feeds: [fed([2, 0]), fed([0, 3])] },
  { op: "MatMul", form: "no terms, in a batch", feeds: [fed([2, 3, 2, 0]), fed([0, 3])] },
  { op: "Gemm", form: "no terms", feeds: [fed([0, 2]), fed([0, 3]), fed([3], 1, 2, 3)], attributes: { transA: 1 } },
  { op: "Einsum", form: "no terms", feeds: [fed([2, 0]), fed([0, 3])], attributes: { equation: "ij,jk->ik" } },
];

function modelOf({ op, feeds, stored = [], attributes = {}, types = [FLOAT] }: EdgeCase): ModelProto {
  const outputs = types.map((_, i) => `y${i}`);
  const inputs = feeds.map((_, i) => `x${i}`);
  return model({
    inputs: feeds.map(({ dims, data }, i) => info(`x${i}`, data instanceof Float32Array ? FLOAT : INT64, dims)),
    outputs: outputs.map((name, i) => info(name, types[i]!)),
    initializers: stored,
    nodes: [node(op, [...inputs, ...stored.map(({ name }) => name)], outputs, attributes)],
  });
}

const feedsOf = <T>({ feeds }: EdgeCase, made: (feed: Fed) => T): Record<string, T> =>
  Object.fromEntries(feeds.map((feed, i) => [`x${i}`, made(feed)]));

async function onOnnxruntime(given: EdgeCase): Promise<number[][]> {
  const session = await openSession(encodeModel(modelOf(given)));
  const results = await session.run(
    feedsOf(given, ({ dims, data }) =>
      data instanceof Float32Array ? new Tensor("float32", data, dims) : new Tensor("int64", data, dims),
    ),
  );
  return Object.values(results).map(({ data }) => Array.from(data as Float32Array | BigInt64Array, Number));
}

/** Memory that was used before, as in the middle of a run. */
function leaveNumbers(): void {
  for (let size = 1; size <= 20; size++) tf.tidy(() => tf.mul(tf.ones([size]), 7).dataSync());
}

describe.each(backends)("edge cases on %s give what onnxruntime gives", (backend) => {
  beforeAll(() => tf.setBackend(backend));

  it.each(cases.map((given) => [`${given.op}, ${given.form}`, given] as const))("%s", async (_, given) => {
    const onnx = await OnnxModel.load(modelOf(given), { trainable: () => false });
    leaveNumbers();
    const outputs = Object.values(onnx.run(feedsOf(given, (feed) => feed)));
    expect(outputs.map((output) => Array.from(output.dataSync()))).toEqual(await onOnnxruntime(given));
    expect(outputs.map(({ dtype }) => dtype)).toEqual(
      (given.types ?? [FLOAT]).map((type) => (type === FLOAT ? "float32" : "int32")),
    );
    tf.dispose(outputs);
    onnx.dispose();
  });

  it("the gradient of running sums adds what follows, and nothing else", async () => {
    const onnx = await OnnxModel.load(modelOf(sums("", fed([4], 1, 2, 3, 4), 0, 0)));
    const upstream = tf.tensor1d([1e8, 1, 1, NaN]);
    const [gradient] = tf.grads((x) => onnx.run({ x0: x })["y0"]!)([tf.tensor1d([1, 2, 3, 4])], upstream);
    expect(Array.from(gradient!.dataSync())).toEqual([NaN, NaN, NaN, NaN]);
    const ends = tf.tensor1d([NaN, 1e8, 1, 1]);
    const [later] = tf.grads((x) => onnx.run({ x0: x })["y0"]!)([tf.tensor1d([1, 2, 3, 4])], ends);
    expect(Array.from(later!.dataSync())).toEqual([NaN, Math.fround(1e8 + 2), 2, 1]);
    onnx.dispose();
  });

  it("a product of no terms has gradients of no numbers", async () => {
    const onnx = await OnnxModel.load(modelOf(cases.find(({ op }) => op === "MatMul")!));
    const gradients = tf.grads((a, b) => onnx.run({ x0: a!, x1: b! })["y0"]!)([tf.zeros([2, 0]), tf.zeros([0, 3])]);
    expect(gradients.map(({ shape }) => shape)).toEqual([
      [2, 0],
      [0, 3],
    ]);
    onnx.dispose();
  });
});
