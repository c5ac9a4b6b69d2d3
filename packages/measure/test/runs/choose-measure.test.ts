import { describe, expect, test } from "vitest";

import { DataType } from "@favor/onnx";
import { node } from "@favor/test-support/nodes";
import { valueInfo } from "@favor/test-support/small-model";
import { temporaryFile } from "@favor/test-support/temporary-folder";

import { chooseMeasure } from "../../src/runs/choose-measure.ts";
import type { ModelToMeasure } from "../../src/runs/choose-measure.ts";
import { compareDecisions } from "../../src/runs/classification.ts";
import { isCausal } from "../../src/runs/next-token.ts";
import { ModelRunner } from "../../src/runs/runner.ts";
import { smallAttention, vocabulary } from "../inputs/small-attention.ts";
import type { SmallAttention } from "../inputs/small-attention.ts";

async function open(attention: SmallAttention): Promise<ModelRunner> {
  const path = await temporaryFile("model.onnx", smallAttention(attention));
  return ModelRunner.open(path, { threads: 1, vocabulary });
}

const { FLOAT, INT64 } = DataType;

/** What is known of a model: `size` tokens, as many as the output is wide if it is to be logits over the vocabulary. */
function known(
  changes: Partial<ModelToMeasure> & { readonly size?: number; readonly maskId?: number },
): ModelToMeasure {
  const { size = vocabulary, maskId, ...rest } = changes;
  return {
    config: {},
    task: undefined,
    pooling: undefined,
    poolingIsChosen: false,
    tokenizer: { size, maskId, specialIds: new Set([0]) },
    sequences: [{ ids: [1, 2, 3, 2, 1] }],
    ...rest,
  };
}

const mean: ModelToMeasure["pooling"] = { modes: ["mean"], similarity: "cosine", after: [] };

/** Hides what the mask of transformers hides. */
const masked: SmallAttention = {
  mask: {
    input: valueInfo("attention_mask", INT64, ["b", "l"]),
    nodes: [
      node("Cast", ["attention_mask"], ["kept"], { to: FLOAT }),
      node("Sub", ["unit", "kept"], ["hidden"]),
      node("Unsqueeze", ["hidden", "axis1"], ["hidden_keys"]),
      node("Mul", ["hidden_keys", "far"], ["bias"]),
    ],
  },
};

describe("the measure follows what the model is used for", () => {
  test.each<[what: string, attention: SmallAttention, model: Parameters<typeof known>[0], expected: object]>([
    ["vectors of tokens", masked, {}, { kind: "output-cosine" }],
    [
      "a pooling",
      masked,
      { pooling: mean },
      { kind: "embedding", similarity: "cosine", pooling: { modes: ["mean"], after: [] } },
    ],
    ["logits and a mask token", masked, { size: 4, maskId: 3 }, { kind: "masked-language" }],
    ["logits without a mask token", masked, { size: 4 }, { kind: "output-cosine" }],
    ["causal logits, whatever tokens there are", { causal: true }, { size: 4, maskId: 3 }, { kind: "next-token" }],
    ["causal vectors", { causal: true }, {}, { kind: "output-cosine" }],
    [
      "classes of tokens",
      masked,
      { config: { architectures: ["BertForTokenClassification"] } },
      { kind: "classification", decision: "one class" },
    ],
    [
      "classes that do not exclude each other",
      masked,
      { task: "text-classification", config: { problem_type: "multi_label_classification" } },
      { kind: "classification", decision: "several classes" },
    ],
    [
      "a regression",
      masked,
      { config: { architectures: ["BertForSequenceClassification"], problem_type: "regression" } },
      { kind: "output-cosine" },
    ],
  ])("%s", async (_, attention, model, expected) => {
    const runner = await open(attention);
    expect(await chooseMeasure(runner, known(model))).toEqual({ output: "out", ...expected });
    await runner.close();
  });

  test("a pooling that was chosen needs vectors of tokens", async () => {
    const runner = await open(masked);
    const asked = known({ pooling: mean, poolingIsChosen: true, size: 4, maskId: 3 });
    await expect(chooseMeasure(runner, asked)).rejects.toMatchObject({ code: "bad-arguments" });
    await runner.close();
  });
});

test("causal is what no later token changes", async () => {
  const [causal, both] = [await open({ causal: true }), await open(masked)];
  const { tokenizer } = known({});
  expect(await isCausal(causal, "out", [1, 2, 3, 2, 1], tokenizer)).toBe(true);
  expect(await isCausal(both, "out", [1, 2, 3, 2, 1], tokenizer)).toBe(false);
  expect(await isCausal(causal, "out", [1], tokenizer)).toBe(false);
  await causal.close();
  await both.close();
});

test("decisions are counted as they are made one by one", async () => {
  const [before, after] = [await open(masked), await open({ causal: true })];
  const sequences = Array.from({ length: 12 }, (_, i) => ({
    ids: Array.from({ length: 3 + (i % 5) }, (__, at) => (i * 7 + at * 11) % vocabulary),
  }));
  const compared = async (decision: "one class" | "several classes"): Promise<number> => {
    const found = await compareDecisions(before, after, sequences, { output: "out", decision }, 0, () => {});
    expect(found).toMatchObject({ classes: 4, vectors: sequences.reduce((sum, { ids }) => sum + ids.length, 0) });
    return found.agreement.value;
  };
  let [alike, sameSet, all] = [0, 0, 0];
  for (const { ids } of sequences) {
    const [a, b] = [await before.run([ids], "out"), await after.run([ids], "out")];
    for (let start = 0; start < a.data.length; start += 4, all++) {
      const [x, y] = [[...a.data.subarray(start, start + 4)], [...b.data.subarray(start, start + 4)]];
      if (x.indexOf(Math.max(...x)) === y.indexOf(Math.max(...y))) alike++;
      if (x.every((score, i) => score > 0 === y[i]! > 0)) sameSet++;
    }
  }
  expect(alike).toBeLessThan(all);
  expect(await compared("one class")).toBe(alike / all);
  expect(await compared("several classes")).toBe(sameSet / all);
  await before.close();
  await after.close();
});
