import { describe, expect, test } from "vitest";

import { DataType } from "@favor/onnx";
import type { NodeProto, ValueInfoProto } from "@favor/onnx";
import { node } from "@favor/test-support/nodes";
import { valueInfo } from "@favor/test-support/small-model";
import { temporaryFile } from "@favor/test-support/temporary-folder";

import { ModelRunner } from "../../src/runs/runner.ts";
import type { RunnerOptions } from "../../src/runs/runner.ts";
import { smallAttention, vocabulary } from "./small-attention.ts";
import type { SmallAttention } from "./small-attention.ts";

const { INT64, INT32, BOOL, FLOAT } = DataType;

async function open(attention: SmallAttention, options: RunnerOptions = {}): Promise<ModelRunner> {
  const path = await temporaryFile("model.onnx", smallAttention(attention));
  return ModelRunner.open(path, { threads: 1, vocabulary, ...options });
}

/** A mask input [b, l], made a bias [b, 1, l] by these nodes. */
const masked = (
  name: string,
  type: number,
  nodes: readonly NodeProto[],
  dims: readonly string[] = ["b", "l"],
): { input: ValueInfoProto; nodes: readonly NodeProto[] } => ({ input: valueInfo(name, type, dims), nodes });

/** Masks of which 1 or true hides. */
const hiding = (name: string, type: number): ReturnType<typeof masked> =>
  masked(name, type, [
    node("Cast", [name], ["hidden"], { to: FLOAT }),
    node("Unsqueeze", ["hidden", "axis1"], ["hidden_keys"]),
    node("Mul", ["hidden_keys", "far"], ["bias"]),
  ]);

/** Masks of which 1 or true keeps, as transformers makes them. */
const keeping = (name: string, type: number, axis = "axis1", dims = ["b", "l"]): ReturnType<typeof masked> =>
  masked(
    name,
    type,
    [
      node("Cast", [name], ["kept"], { to: FLOAT }),
      node("Sub", ["unit", "kept"], ["hidden"]),
      node("Unsqueeze", ["hidden", axis], ["hidden_keys"]),
      node("Mul", ["hidden_keys", "far"], ["bias"]),
    ],
    dims,
  );

const additive = (name: string): ReturnType<typeof masked> =>
  masked(name, FLOAT, [node("Unsqueeze", [name, "axis1"], ["bias"])]);

const asItIs = (name: string, type: number, dims: readonly string[], hides: boolean): ReturnType<typeof masked> =>
  masked(
    name,
    type,
    [
      node("Cast", [name], ["numbers"], { to: FLOAT }),
      ...(hides ? [node("Mul", ["numbers", "far"], ["bias"])] : [node("Identity", ["numbers"], ["bias"])]),
    ],
    dims,
  );

/** [b, 1, l, l] as four axes: the heads are squeezed away. */
const fourAxes = masked("bias4", FLOAT, [node("Squeeze", ["bias4", "axis1"], ["bias"])], ["b", "one", "l", "l"]);

const lengths = masked(
  "lengths",
  INT64,
  [
    node("Shape", ["rows"], ["shape"]),
    node("Gather", ["shape", "one"], ["l"]),
    node("Range", ["zero", "l", "one"], ["places"]),
    node("Unsqueeze", ["lengths", "axis1"], ["ends"]),
    node("Less", ["places", "ends"], ["inside"]),
    node("Not", ["inside"], ["outside"]),
    node("Cast", ["outside"], ["hidden"], { to: FLOAT }),
    node("Unsqueeze", ["hidden", "axis1"], ["hidden_keys"]),
    node("Mul", ["hidden_keys", "far"], ["bias"]),
  ],
  ["b"],
);

const variants: readonly (readonly [string, SmallAttention, object])[] = [
  ["a mask of int64 that is 1 at tokens", { mask: keeping("attention_mask", INT64) }, { keeps: 1, hides: 0 }],
  ["a mask of int32", { mask: keeping("m", INT32) }, { keeps: 1, hides: 0 }],
  ["a mask of bool that is true at tokens", { mask: keeping("padding_mask", BOOL) }, { keeps: 1, hides: 0 }],
  ["a mask of float that is 1 at tokens", { mask: keeping("m", FLOAT) }, { keeps: 1, hides: 0 }],
  ["a mask that is true at padding", { mask: hiding("attention_mask", BOOL) }, { keeps: 0, hides: 1 }],
  ["a mask of int64 that is 1 at padding", { mask: hiding("attention_mask", INT64) }, { keeps: 0, hides: 1 }],
  ["a mask of float that is added", { mask: additive("attention_mask") }, { keeps: 0, hides: -1e4 }],
  ["a mask [batch, 1, length]", { mask: asItIs("m", BOOL, ["b", "one", "l"], true) }, { keeps: 0, hides: 1 }],
  ["a mask [batch, length, length]", { mask: asItIs("m", FLOAT, ["b", "l", "l"], false) }, { hides: -1e4 }],
  ["a mask [batch, 1, length, length]", { mask: fourAxes }, { keeps: 0, hides: -1e4 }],
  ["lengths", { mask: lengths }, { kind: "lengths" }],
  ["a causal model", { causal: true, mask: hiding("attention_mask", BOOL) }, { keeps: 0, hides: 1 }],
  ["ids [length, batch], the mask [batch, length]", { lengthFirst: true, mask: hiding("m", BOOL) }, { hides: 1 }],
  ["inputs without names", { ids: ["input.1", INT32], mask: hiding("onnx::Not_1", BOOL) }, { keeps: 0, hides: 1 }],
];

describe("a mask is fed by what it hides", () => {
  test.each(variants)("%s", async (_, attention, meaning) => {
    const runner = await open(attention);
    const fed = runner.feeding.inputs.find(({ name }) => name === attention.mask!.input.name)!;
    expect(fed.meaning).toMatchObject(meaning);
    expect(runner.takesMask).toBe(true);
    // Sequences padded in one batch give what they give alone, and those that differ give different outputs.
    const rows = [
      [3, 9, 27, 5, 8, 30],
      [3, 9, 27],
      [7, 1],
    ];
    const { data, width, length } = await runner.run(rows, "out");
    expect([width, length]).toEqual([4, 6]);
    for (const [i, row] of rows.entries()) {
      const alone = await runner.run([row], "out");
      const together = data.subarray(i * length * width, (i * length + row.length) * width);
      expect(Math.max(...alone.data.map((value, at) => Math.abs(value - together[at]!)))).toBeLessThan(1e-5);
    }
    // Equal tokens with other tokens behind them give others, where they are seen.
    const [third, sameElsewhere] = [2, length + 2].map((at) => data.subarray(at * width, (at + 1) * width));
    expect(third!.every((value, i) => value === sameElsewhere![i])).toBe(attention.causal === true);
    await runner.close();
  });
});

const kindsOf = async (attention: SmallAttention, options: RunnerOptions = {}): Promise<Record<string, string>> => {
  const runner = await open(attention, options);
  await runner.close();
  return Object.fromEntries(runner.feeding.inputs.map(({ name, meaning }) => [name, meaning.kind]));
};

describe("inputs that are looked up", () => {
  test("token types are a small table, by any name", async () => {
    const expected = { "input.1": "ids", "input.2": "types", "input.3": "mask" };
    const lookedUp = [["input.2", 2]] as const;
    const mask = keeping("input.3", INT64);
    expect(await kindsOf({ ids: ["input.1", INT64], lookedUp, mask })).toEqual(expected);
    expect(await kindsOf({ ids: ["ids", INT64], lookedUp: [["segment", 2]] })).toEqual({
      ids: "ids",
      segment: "types",
    });
  });

  test("positions by their name, or by a table of as many rows as config.json says", async () => {
    const named = { input_ids: "ids", position_ids: "positions" };
    expect(await kindsOf({ lookedUp: [["position_ids", 64]] })).toEqual(named);
    const lookedUp = [["input.2", 24]] as const;
    expect(await kindsOf({ lookedUp }, { positions: 24 })).toEqual({ input_ids: "ids", "input.2": "positions" });
  });

  test("position ids count from where the checkpoint begins", async () => {
    const attention = { lookedUp: [["position_ids", 64]] } as const;
    const [first, third] = [await open(attention), await open(attention, { firstPosition: 2 })];
    expect((await first.run([[4, 5, 6]], "out")).data).not.toEqual((await third.run([[4, 5, 6]], "out")).data);
    await first.close();
    await third.close();
  });
});

describe("refuses by name any input that it cannot prove", () => {
  const refused: readonly (readonly [string, SmallAttention, string])[] = [
    ["a cache", { others: [valueInfo("past_key_values.0.key", FLOAT, ["b", 2, "p", 16])] }, "past_key_values.0.key"],
    ["a temperature", { others: [valueInfo("temperature", FLOAT, [])] }, "temperature"],
    ["a mask of heads", { others: [valueInfo("head_mask", FLOAT, [2])] }, "head_mask"],
    ["a second table of the vocabulary's size", { lookedUp: [["decoder_input_ids", 40]] }, "decoder_input_ids"],
    ["a table of another size, without a name", { lookedUp: [["input.7", 24]] }, "input.7"],
    [
      "a bias that hides nothing",
      { mask: masked("m", FLOAT, [node("Unsqueeze", ["m", "axis1"], ["b1"]), node("Tanh", ["b1"], ["bias"])]) },
      '"m"',
    ],
  ];
  test.each(refused)("%s", async (_, attention, name) => {
    const failure = await open(attention).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "model-inputs-unknown", message: expect.stringContaining(name) as string });
  });

  test("an input that nothing reads is fed, but hides no padding", async () => {
    const runner = await open({ others: [valueInfo("attention_mask", INT64, ["b", "l"])] });
    expect(runner.takesMask).toBe(false);
    await runner.close();
  });

  test("padding that nothing hides", async () => {
    const runner = await open({ dims: [1, 6] });
    expect(runner.fixedLength).toBe(6);
    await expect(runner.run([[1, 2, 3]], "out")).rejects.toThrow(/no input that hides padding.* 3 tokens .* to 6/);
    await runner.close();
  });

  test("an original that gives NaN is blamed itself", async () => {
    await expect(open({ spoiled: true })).rejects.toMatchObject({
      code: "model-fails-to-run",
      message: expect.stringContaining("NaN or infinity for ordinary tokens") as string,
    });
  });
});
