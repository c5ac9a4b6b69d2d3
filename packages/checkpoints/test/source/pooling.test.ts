import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { expect, test } from "vitest";

import { temporaryFolder } from "@favor/test-support/temporary-folder";

import { readPooling } from "../../src/source/pooling.ts";

/** A checkpoint's folder with these files as JSON. */
async function folderWith(files: Readonly<Record<string, unknown>>): Promise<string> {
  const folder = await temporaryFolder();
  for (const [name, contents] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), JSON.stringify(contents));
  }
  return folder;
}

const module = (kind: string, path: string) => ({
  idx: 0,
  name: "0",
  path,
  type: `sentence_transformers.models.${kind}`,
});
const mean = { word_embedding_dimension: 8, pooling_mode_cls_token: false, pooling_mode_mean_tokens: true };

test("modules.json leads to the pooling, wherever it lies, and names what comes after", async () => {
  const folder = await folderWith({
    "modules.json": [
      module("Transformer", ""),
      module("Pooling", "p"),
      module("Dense", "2_Dense"),
      module("Normalize", "3"),
    ],
    "p/config.json": { ...mean, pooling_mode_max_tokens: true, include_prompt: true },
    "1_Pooling/config.json": { pooling_mode_cls_token: true },
  });
  expect(await readPooling(folder)).toEqual({ modes: ["max", "mean"], similarity: "cosine", after: ["2_Dense"] });
});

test("1_Pooling counts without modules.json; newer files name the way in a word", async () => {
  const settings = { embedding_dimension: 8, pooling_mode: "lasttoken" };
  const folder = await folderWith({ "1_Pooling/config.json": settings });
  expect(await readPooling(folder)).toEqual({ modes: ["last"], similarity: "cosine", after: [] });
});

test("vectors that are not normalised are compared as the checkpoint says", async () => {
  const dot = { "config_sentence_transformers.json": { similarity_fn_name: "dot" }, "1_Pooling/config.json": mean };
  expect(await readPooling(await folderWith(dot))).toMatchObject({ similarity: "dot" });
  const normalised = [module("Pooling", "1_Pooling"), module("Normalize", "2_Normalize")];
  expect(await readPooling(await folderWith({ ...dot, "modules.json": normalised }))).toMatchObject({
    similarity: "cosine",
  });
  const other = { ...dot, "config_sentence_transformers.json": { similarity_fn_name: "manhattan" } };
  await expect(readPooling(await folderWith(other))).rejects.toThrow(/"manhattan"/);
});

test("a choice that disagrees with the checkpoint is named; without a configuration it stands alone", async () => {
  const folder = await folderWith({ "1_Pooling/config.json": mean });
  expect(await readPooling(folder, "cls")).toMatchObject({ modes: ["cls"], configured: "mean" });
  expect(await readPooling(folder, "mean")).not.toHaveProperty("configured");
  const bare = await temporaryFolder();
  expect(await readPooling(bare)).toBeUndefined();
  expect(await readPooling(bare, "max")).toEqual({ modes: ["max"], similarity: "cosine", after: [] });
});

test.each([
  [{ pooling_mode_attention_tokens: true }, /pools by "attention_tokens", which is unknown/],
  [{ pooling_mode_mean_tokens: "yes" }, /pools by "pooling_mode_mean_tokens: yes", which is unknown/],
  [{ pooling_mode: "__proto__" }, /which is unknown/],
  [{ pooling_mode_cls_token: false }, /names no way of pooling/],
])("%j is refused, unless a way is chosen", async (settings, message) => {
  const folder = await folderWith({ "1_Pooling/config.json": settings });
  await expect(readPooling(folder)).rejects.toThrow(message);
  await expect(readPooling(folder)).rejects.toMatchObject({ code: "config-malformed" });
  expect(await readPooling(folder, "mean")).toMatchObject({ modes: ["mean"] });
});

test("modules without a pooling are no sentence embedding", async () => {
  const folder = await folderWith({ "modules.json": [module("Transformer", "")], "1_Pooling/config.json": mean });
  expect(await readPooling(folder)).toBeUndefined();
});
