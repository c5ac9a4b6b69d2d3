import { expect, test } from "vitest";

import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";

import { ModelRunner } from "../../src/runs/runner.ts";

/** What exporters mean by their names. */
const meant: Readonly<Record<string, string>> = {
  input_ids: "ids",
  tokens: "ids",
  ids: "ids",
  attention_mask: "mask 1 0",
  mask: "mask 1 0",
  token_type_ids: "types",
  position_ids: "positions",
};

/** Text models that are refused: caches, states of an encoder, second token tables, counts of layers, lengths baked in. */
const refused =
  /past|decoder|bart-ts|marian-ts|bert_cross|script-loop|khub_bert_mlm|nnenc-ts-op17-dyn-baked|op16-bf16|hubert|wav2vec2/;

const texts = sharedZoo.entries.filter(({ inputs }) => inputs.some(({ shape }) => shape?.length === 2));

test.skipIf(!hasSharedZoo)("exports are fed as their names say (skipped if ../shared/zoo is absent)", async () => {
  const wrong: string[] = [];
  for (const { name, model } of texts) {
    const runner = await ModelRunner.open(sharedZoo.path(model), { threads: 1 }).catch((error: Error) => error);
    if (runner instanceof Error) {
      if (!refused.test(name)) wrong.push(`${name}: ${runner.message}`);
      continue;
    }
    await runner.close();
    if (refused.test(name)) wrong.push(`${name} is fed`);
    for (const { name: input, meaning, axes } of runner.feeding.inputs) {
      const found = meaning.kind === "mask" ? `mask ${meaning.keeps} ${meaning.hides}` : meaning.kind;
      if (found !== meant[input] || !["batch,length", "batch,query,length"].includes(axes.join()))
        wrong.push(`${name}: ${input} is ${found} [${axes}]`);
    }
  }
  expect(wrong).toEqual([]);
  expect(texts.length).toBeGreaterThan(150);
});
