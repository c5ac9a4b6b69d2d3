import { encodeModel, type ModelProto } from "@favor/onnx";
import { hiddenStates, dim, heads, hidden, layerModel, reEmissionDifference } from "@favor/test-support/layer";
import { openSession } from "@favor/test-support/onnxruntime";
import { Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { convertAttention, inspectAttention } from "../../src/model-attention.ts";

// Batches of as many items as there are heads run through all of these.

const written = { logits: "bqhd,bkhd->bhqk", output: "bhqk,bkhd->bqhd" };

const attention = ({ logits, output }: typeof written) =>
  layerModel(
    (b) => {
      const apart = (x: string): string => b.reshape(b.linear(x), [0, 0, heads, dim]);
      const product = (equation: string, one: string, other: string): string =>
        b.op("Einsum", [one, other], { equation: { string: equation } });
      const [query, key, value] = [apart("x"), apart("x"), apart("x")];
      const scaled = b.op("Mul", [product(logits, query, key), b.scalar(1 / Math.sqrt(dim))]);
      return b.reshape(product(output, b.softmax(scaled), value), [0, 0, heads * dim]);
    },
    { inputs: [hiddenStates] },
  );

/** The equations in which two letters of one term stand at each other's place. */
const exchanged = (equation: string): string[] => {
  const terms = equation.split(/,|->/);
  return terms.flatMap((term, t) =>
    ["bh", "bq", "hq", "bk", "hk"].flatMap(([one, other]) => {
      if (!term.includes(one!) || !term.includes(other!)) return [];
      const made = term.replace(/./g, (letter) => (letter === one ? other! : letter === other ? one! : letter));
      const [left, right, out] = terms.with(t, made);
      return `${left},${right}->${out}`;
    }),
  );
};

test.each([
  written,
  { logits: "bqhd,bkhd->hbqk", output: "hbqk,bkhd->bqhd" },
  { logits: "bqhd,bkhd->qhbk", output: "qhbk,bkhd->bqhd" },
])("$logits and $output are attention", async (equations) => {
  expect(inspectAttention(attention(equations)).sites).toMatchObject([{ verdict: "convert" }]);
  expect(await reEmissionDifference(() => attention(equations), false)).toBeLessThan(1e-5);
});

const sizes = [
  [2, 2],
  [2, 5],
  [3, 3],
  [5, 2],
] as const;

/** What a model returns for a batch of so many sequences; undefined where it does not run at that size. */
async function run(model: ModelProto, batch: number, length: number): Promise<Float32Array | undefined> {
  const session = await openSession(encodeModel(model));
  const values = Float32Array.from({ length: batch * length * hidden }, (_, i) => 3 * Math.sin(37.7 * i));
  try {
    const { out } = await session.run({ x: new Tensor("float32", values, [batch, length, hidden]) });
    return out!.data as Float32Array;
  } catch {
    return undefined;
  } finally {
    await session.release();
  }
}

test.each([
  ...exchanged(written.logits).map((logits) => ({ ...written, logits })),
  ...exchanged(written.output).map((output) => ({ ...written, output })),
])("$logits and $output exchange axes: they are refused, or written as they are", async (equations) => {
  const model = attention(equations);
  if (inspectAttention(model).sites.every(({ verdict }) => verdict === "refuse")) return;
  const converted = convertAttention(attention(equations), { features: "exact", cross: true }).model;
  for (const [batch, length] of sizes) {
    const [expected, found] = [await run(model, batch, length), await run(converted, batch, length)];
    if (expected === undefined || found === undefined) continue;
    const worst = Math.max(...expected.map((value, i) => Math.abs(value - found[i]!)));
    expect(worst, `a batch of ${batch}, length ${length}`).toBeLessThan(1e-5);
  }
});
