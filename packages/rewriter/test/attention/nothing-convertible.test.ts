import { expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { hiddenStates, layerModel } from "@favor/test-support/layer";
import type { Layer } from "@favor/test-support/layer";

/** Layers of which each keeps the largest logits, soft-capped in the last. */
const layers =
  (count: number) =>
  (b: Layer): string => {
    let x = "x";
    for (let layer = 0; layer < count; layer++) {
      const isLast = layer === count - 1;
      x = b.attend((s) => {
        if (isLast) return b.softmax(b.op("Mul", [b.op("Tanh", [s]), b.scalar(5)]));
        const least = b.op("ReduceMin", [b.op("TopK", [s, b.integers([2])])], { axes: { ints: [3] } });
        return b.softmax(b.masked(b.op("Not", [b.op("Less", [s, least])]), s));
      }, x);
    }
    return x;
  };

const refusal = (count: number): string => {
  try {
    convertAttention(layerModel(layers(count), { inputs: [hiddenStates] }));
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("converted");
};

test("each reason is said once, with its layers", () => {
  const message = refusal(4);
  expect(message).toMatch(
    /^None of the 4 attention layers can be replaced\. Layers 0-2, top-k: .+\. \(The names are those of the first\.\) Layer 3, soft-capping: .+\.$/,
  );
  expect(message.match(/keeps only the largest logits/g)).toHaveLength(1);
});

test("one layer", () => {
  expect(refusal(1)).toMatch(/^The model's one attention layer cannot be replaced\. Layer 0, soft-capping: .+\.$/);
});
