import { describe, expect, test } from "vitest";
import { openModel } from "@favor/onnx/node";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";
import { float32, int64, node } from "@favor/test-support/nodes";
import { countPositions, smallModel } from "@favor/test-support/small-model";
import { longestInputOf } from "../../src/positions/grow-model.ts";

/** Where the graph holds another limit than the configuration that the manifest quotes. */
const otherwise: Readonly<Record<string, number | "unlimited" | "unknown">> = {
  // Positions begin behind the padding id, 1.
  "esm_absolute-ts-sdpa-op17-dyn": 62,
  // Distances beyond the table are clipped.
  "deberta_v2-ts-eager-op14-dyn": "unlimited",
  "deberta_v2-optimum": "unlimited",
  "xlnet-ts-eager-op14-dyn": "unlimited",
  // Lengths are baked into a graph that declares them free, or tables lie in the branches of an If.
  "nnenc-ts-op17-dyn-baked": "unknown",
  "bart-optimum-decoder_merged": "unknown",
};

const texts = sharedZoo.entries.filter(
  ({ inputs, max_positions: most }) => most !== undefined && inputs[0]?.shape?.length === 2,
);

test.skipIf(!hasSharedZoo)("the limits of the zoo's graphs (skipped if ../shared/zoo is absent)", async () => {
  const wrong: string[] = [];
  for (const { name, model, max_positions: stated, inputs } of texts) {
    const opened = await openModel(sharedZoo.path(model));
    const found = longestInputOf(opened.model);
    opened.close();
    const fixed = inputs[0]!.shape![1];
    const expected = typeof fixed === "number" ? fixed : (otherwise[name] ?? stated ?? "unlimited");
    if (found !== expected) wrong.push(`${name}: ${found}, not ${expected}`);
  }
  expect(wrong).toEqual([]);
  expect(texts.length).toBeGreaterThan(150);
});

const model = (nodes: Parameters<typeof smallModel>[0]): ReturnType<typeof smallModel> =>
  smallModel(nodes, {
    table: float32(
      [24, 2],
      Array.from({ length: 48 }, (_, i) => Math.sin(i * i)),
    ),
    two: int64([], [2]),
  });

describe("a table that is read one row per token", () => {
  test("limits the length to its rows, less those before the first token", () => {
    expect(longestInputOf(model([...countPositions, node("Gather", ["table", "positions"], ["out"])]))).toBe(24);
    const later = [node("Add", ["positions", "two"], ["later"]), node("Gather", ["table", "later"], ["out"])];
    expect(longestInputOf(model([...countPositions, ...later]))).toBe(22);
  });

  test("is not the embedding of the tokens", () => {
    expect(longestInputOf(model([node("Gather", ["table", "ids"], ["out"])]))).toBe("unlimited");
  });
});
