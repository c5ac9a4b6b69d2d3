import { expect, test } from "vitest";
import { convertAttention, findAttention } from "../src/model-attention.ts";
import { GraphError } from "@favor/onnx/graph";
import { openModel } from "@favor/onnx/node";
import { coreZoo } from "@favor/test-support/zoo/folder";

async function open(name: string) {
  const { model } = await openModel(coreZoo.path(`${name}.onnx`));
  return model;
}

test("the logits and probabilities are most of a long input's memory, and blocks and features leave them out", async () => {
  const [, , long] = findAttention(await open("bert-ts-sdpa-op17-dyn")).memory();
  const heads = 2;
  // Two tensors of queries x keys at a time, float32.
  const quadratic = 2 * heads * 8192 ** 2 * 4;
  expect(long!.length).toBe(8192);
  expect(long!.original / quadratic).toBeGreaterThan(1);
  expect(long!.original / quadratic).toBeLessThan(1.5);
  expect(long!.exact!).toBeLessThan(quadratic / 20);
  expect(long!.linear!).toBeLessThan(quadratic / 10);
});

test("memory is proportional to the length where attention is exact by block", async () => {
  const [, middle, long] = findAttention(await open("t5_encoder-ts-eager-op14-dyn")).memory();
  // Blocks of long inputs are smaller.
  expect(long!.exact! / middle!.exact!).toBeLessThan(4.05);
  expect(long!.original / middle!.original).toBeGreaterThan(12);
  expect(long!.linear).toBeUndefined();
});

test("with exact keys, memory is that of exact attention while all keys are exact, then proportional to the length", async () => {
  const found = findAttention(await open("bert-ts-sdpa-op17-dyn"));
  const [short, middle, long] = found.siteMemory()[0]!;
  expect(short!.exactKeys).toBe(short!.exact);
  // 5.5 times the keys and values: docs/adr/0022.
  expect(long!.exactKeys! / (2 * 2 * 16 * 8192 * 4)).toBeCloseTo(5.5, 1);
  expect(long!.exactKeys! / middle!.exactKeys!).toBeCloseTo(4, 1);
  expect(found.memory()[2]!.exactKeys).toBeLessThan(found.memory()[2]!.original / 20);
});

test("a window takes memory that grows with the length alone, and less than blocks that see all keys", async () => {
  const found = findAttention(await open("modernbert-ts-eager-op14-dyn"));
  const site = found.sites.findIndex(({ possible }) => possible.includes("band"));
  const memory = found.siteMemory();
  const [, middle, long] = memory[site]!;
  expect(long!.band! / middle!.band!).toBeCloseTo(4, 1);
  expect(long!.band).toBeLessThan(memory[0]![2]!.exact!);
  expect(long!.exact).toBeUndefined();
});

test("attention that stays has the size of its logits and weights", async () => {
  const [, , long] = findAttention(await open("bert_outatt-ts-eager-op14-dyn")).siteMemory()[0]!;
  expect(long!.original / (2 * 2 * 8192 ** 2 * 4)).toBeCloseTo(1, 1);
  expect(Object.keys(long!)).toEqual(["length", "original"]);
});

test("a model of one length has none computed", async () => {
  expect(findAttention(await open("xtrans_alibi-ts-op17-fix")).memory()).toEqual([]);
});

test("where nothing is linear, the message says what exact attention by blocks saves", async () => {
  const model = await open("t5_encoder-ts-eager-op14-dyn");
  const error = (() => {
    try {
      convertAttention(model);
    } catch (thrown) {
      return thrown;
    }
    return undefined;
  })();
  expect(error).toBeInstanceOf(GraphError);
  expect(error).toMatchObject({ code: "nothing-convertible" });
  expect(String(error)).toMatch(
    /It can be computed exactly by blocks .*--features exact\): .* takes \d+ MB instead of [\d.]+ GB/,
  );
});

test("what is left of the size of queries x keys is listed with its size", async () => {
  const { notes } = convertAttention(await open("mixed-ts-op17-dyn"), { keep: [0] });
  expect(notes.join(" ")).toMatch(
    /tensors of the model still grow with the square of the length; .*MatMul ".*" \(\d+ MB\)/,
  );
  expect(convertAttention(await open("mixed-ts-op17-dyn"), { features: "exact" }).notes).toEqual([
    "3 feed-forward layers are computed by blocks of at most 512 positions: the same numbers in less memory.",
  ]);
});
