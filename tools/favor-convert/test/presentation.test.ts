import { join } from "node:path";
import { PassThrough } from "node:stream";

import { reasonLines } from "@favor/rewriter";
import { describe, expect, test } from "vitest";

import { wrapped } from "@favor/command-line";
import { verificationText } from "../src/presentation.ts";
import { progressOn } from "@favor/command-line";
import { calibration, tiny } from "@favor/test-support/antibody";
import { withModel, withoutAttention } from "./edited-models.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";

async function newFolder(): Promise<string> {
  return join(await temporaryFolder(), "out");
}

async function inspected(name: string): Promise<string> {
  return (await favorConvert("inspect", sharedZoo.path(`${name}.onnx`), "--quiet")).stdout;
}

const widest = (text: string): number => Math.max(...text.split("\n").map((line) => line.length));

const refused = (layer: number, code: string, message: string) => ({
  name: `softmax ${layer}`,
  layer,
  kind: "self",
  heads: 2,
  keyValueHeads: 2,
  headDim: 8,
  scale: 1,
  mask: { kind: "other" },
  reasons: [{ code, message }],
});

test("a reason is printed once, with its layers", () => {
  const sites = [0, 1, 2, 4, 7].map((layer) => refused(layer, "alibi", "An ALiBi bias."));
  expect(reasonLines([...sites, refused(3, "top-k", "The largest.")])).toEqual([
    "layers 0-2, 4, 7, alibi: An ALiBi bias.",
    "layer 3, top-k: The largest.",
  ]);
  const named = [0, 1].map((layer) => refused(layer, "soft-capping", `Capped by Tanh "/layer.${layer}/Tanh".`));
  expect(reasonLines(named)).toEqual([
    'layers 0-1, soft-capping: Capped by Tanh "/layer.0/Tanh". (The names are those of the first.)',
  ]);
});

test("lines of a verification fit 80 columns, whatever was found", () => {
  const found = "a long sentence about what onnxruntime said ".repeat(20).trim();
  const text = verificationText({
    passed: false,
    checks: [
      { name: "model is unchanged", passed: true, found: `sha256 ${"0".repeat(64)}` },
      { name: "model runs in onnxruntime", passed: false, found },
    ],
    evaluation: undefined,
  });
  expect(widest(text)).toBeLessThanOrEqual(80);
  expect(text.replaceAll(/\s+/g, " ")).toContain(`FAILED model runs in onnxruntime: ${found}`);
  expect(wrapped(`a ${"b".repeat(100)} c`, "  ").split("\n")).toEqual(["a", `  ${"b".repeat(100)}`, "  c"]);
});

test.each([80, 50, undefined])("a progress bar with a long name fits a terminal of %s columns", async (columns) => {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns });
  let text = "";
  stream.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
  const name = "Comparing attention with softmax".slice(0, 20);
  const progress = progressOn(stream, {});
  progress.stage(columns === 50 ? name : "Comparing attention with softmax, by head", 4000);
  progress.advance(17);
  progress.end();
  await new Promise((resolve) => setImmediate(resolve));
  // Ctrl-C would leave a terminal without line wrap, if the bar switched it off.
  expect(text).not.toContain("\u001B[?7l");
  // oxlint-disable-next-line no-control-regex
  const lines = text.replaceAll(/\u001B\[[0-9;]*[a-zA-Z]/g, "\n").split(/[\r\n]+/);
  expect(lines.some((line) => line.includes("17/4000"))).toBe(true);
  expect(Math.max(...lines.map((line) => line.trimEnd().length))).toBeLessThan(columns ?? 80);
});

test("what a conversion without data leaves to be wished for is said", async () => {
  const plain = await favorConvert(tiny, "-o", await newFolder(), "--count", "16", "--quiet");
  expect(plain.stdout).toMatch(/not calibrated.*--calibrate\.\nThe quality was not measured: .*--evaluate\.\nWrote/);
  const data = ["--calibrate", calibration, "--calibrate-count", "60", "--features", "positive", "--seeds", "1"];
  const fitted = await favorConvert(tiny, "-o", await newFolder(), "--count", "16", "--quiet", ...data);
  expect(fitted.stdout).not.toMatch(/not calibrated/);
  expect(fitted.stdout).toContain("The quality was not measured");
  const exact = await favorConvert(tiny, "-o", await newFolder(), "--features", "exact", "--block", "64", "--quiet");
  expect(exact.stdout).not.toMatch(/--calibrate|not measured/i);
  expect(exact.stdout).toContain("Nothing is lost: every layer computes what it did before, up to rounding");
  expect(exact.stdout).toContain("computed by blocks of at most 64 positions");
});

test("a model without attention: what it has instead", async () => {
  const answer = await favorConvert("inspect", await withModel(withoutAttention), "--quiet");
  expect(answer.status).toBe(0);
  expect(answer.stdout).toMatch(
    /No softmax attention was found\. The graph has no computing operators and no Softmax\.\n$/,
  );
});

describe.skipIf(!hasSharedZoo)("inspect on exports (skipped if ../shared/zoo is absent)", () => {
  test("a softmax that is no attention", async () => {
    expect(await inspected("neg_cnnsoftmax-ts-op17-dyn")).toMatch(
      /No softmax attention was found\. The graph has 2 Add, .*1 Conv, .*1 MatMul.* and 1 Softmax, none between two products/,
    );
  });

  test("attention with a cache is not called cross-attention", async () => {
    const text = await inspected("gpt2-optimum-past");
    expect(text).toMatch(/│ 0 +│ cached │/);
    expect(text).toMatch(/^layers 0-1, kv-cache: Input "past_key_values\.0\.key"/m);
    expect(text.match(/kv-cache/g)).toHaveLength(1);
  });

  test("a window is a possibility of its own", async () => {
    const text = await inspected("modernbert-ts-eager-op14-dyn");
    expect(text).toMatch(/│ 1 +│ self .* padding and band │ band, exact by block /);
    expect(text).toMatch(/│ +│ band +│ .* MB +│/);
  });

  test.each([
    [
      "bert_outatt-ts-eager-op14-dyn",
      /│ nothing /,
      /2 of 2 sites are not exact by block either \(the first, in layer 0: /,
    ],
    [
      "mpnet-ts-eager-op14-dyn",
      /│ exact by block /,
      /│ layers 0-1 │ as it is +│ .* [\d.]+ GB +│\n│ +│ exact by block +│ .* [\d.]+ MB +│\n└/,
    ],
    ["xlnet-ts-eager-op14-dyn", /│ nothing /, /│ layers 0-1 │ as it is +│ .* [\d.]+ GB +│\n└/],
    [
      "bert-ts-sdpa-op17-dyn",
      /│ linear, linear with exact keys, exact by block /,
      /│ +│ linear with exact keys, 32 features \(blocks of 64: near and 8 chosen\) +│ .* MB +│/,
    ],
  ])("%s: what is possible, and the memory that it takes", async (name, possible, line) => {
    const text = await inspected(name);
    expect(text).toMatch(possible);
    expect(text).toMatch(line);
  });

  test.each([
    ["swin-ts-eager-op14-dyn", /layers 0-\d, additive-bias: .*stays softmax/],
    ["t5_encoder-ts-eager-op14-dyn", /layers 0-1, relative-position-bias: .*stays softmax/],
  ])("%s: the reason says what becomes of the layer", async (name, line) => {
    expect(await inspected(name)).toMatch(line);
  });
});
