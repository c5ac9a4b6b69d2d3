import { mkdir, readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";

import { OutputFolder, copyCompanions } from "@favor/checkpoints/node";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { expect, test } from "vitest";

/** What becomes of the companions of a folder: the notes, and the names and texts in the output. */
async function copied(folder: string): Promise<{ notes: string[]; files: Record<string, string> }> {
  const source = { name: "source", modelPath: join(folder, "m.onnx"), folder, modelName: "m.onnx", config: {} };
  const output = await OutputFolder.begin(join(await temporaryFolder(), "out"), { force: false, sources: [folder] });
  const notes = await copyCompanions(source, output, { maxLength: 64, externalData: true });
  await output.commit();
  const files: Record<string, string> = {};
  for (const entry of await readdir(output.path, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files[relative(output.path, path).replaceAll("\\", "/")] = await readFile(path, "utf8");
  }
  return { notes, files };
}

test("links that lead out of the checkpoint are left out with a note, be they files or folders on the way", async () => {
  const outside = await temporaryFolder();
  await writeFile(join(outside, "id_ed25519"), "secret");
  await writeFile(join(outside, "config.json"), '{ "max_position_embeddings": 8, "secret": 1 }');
  const folder = await temporaryFolder();
  await symlink(join(outside, "id_ed25519"), join(folder, "LICENSE"));
  await symlink(join(outside, "config.json"), join(folder, "config.json"));
  await symlink(outside, join(folder, "1_Pooling"));
  await symlink("/nowhere/at/all", join(folder, "NOTICE"));
  await writeFile(join(folder, "vocab.txt"), "A");
  const { notes, files } = await copied(folder);
  expect(files).toEqual({ "vocab.txt": "A" });
  expect(notes).toHaveLength(3);
  for (const [i, name] of ["config.json", "1_Pooling/config.json", "LICENSE"].entries()) {
    expect(notes[i]).toMatch(new RegExp(`^${name} was not copied: it is a link that leads out of the checkpoint`));
  }
});

test("links that stay inside the folder are copied, and so are those of a Hub snapshot to its blobs alone", async () => {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "licences"));
  await writeFile(join(folder, "licences", "apache"), "licence");
  await symlink(join("licences", "apache"), join(folder, "LICENSE"));
  expect(await copied(folder)).toEqual({ notes: [], files: { LICENSE: "licence" } });

  const repository = join(await temporaryFolder(), "models--a--b");
  const snapshot = join(repository, "snapshots", "0".repeat(40));
  await mkdir(join(repository, "blobs"), { recursive: true });
  await mkdir(snapshot, { recursive: true });
  await writeFile(join(repository, "blobs", "abc"), "A");
  await writeFile(join(repository, "token"), "secret");
  await symlink("../../blobs/abc", join(snapshot, "vocab.txt"));
  await symlink("../../token", join(snapshot, "LICENSE"));
  const found = await copied(snapshot);
  expect(found.files).toEqual({ "vocab.txt": "A" });
  expect(found.notes).toEqual([expect.stringMatching(/^LICENSE was not copied/)]);
});

test("every folder of modules.json is copied with everything in it, and the new length is written wherever texts are cut", async () => {
  const folder = await temporaryFolder();
  const modules = ["", "1_Pooling", "./2_Dense/", "3_Normalize", "../outside", "/etc", "a/../../b", "onnx"];
  await writeFile(join(folder, "modules.json"), JSON.stringify(modules.map((path, idx) => ({ idx, path }))));
  for (const name of ["1_Pooling", "2_Dense/inner", "onnx", "4_Other"])
    await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, "1_Pooling/config.json"), "{}");
  await writeFile(join(folder, "2_Dense/model.safetensors"), "weights");
  await writeFile(join(folder, "2_Dense/inner/config.json"), "{}");
  await writeFile(join(folder, "onnx/config.json"), "{}");
  await writeFile(join(folder, "4_Other/config.json"), "{}");
  await symlink("/etc/hostname", join(folder, "2_Dense/name"));
  await writeFile(join(folder, "tokenizer.json"), '{"version": 1.0, "truncation": {"max_length": 16}, "model": 1}');
  await writeFile(join(folder, "tokenizer_config.json"), '{"model_max_length": 16, "max_length": 8}');
  await writeFile(join(folder, "sentence_bert_config.json"), '{"max_seq_length": 16}');
  await writeFile(join(folder, "sentence_roberta_config.json"), '{"max_seq_length": null}');
  const { notes, files } = await copied(folder);
  expect(files).toMatchObject({
    "1_Pooling/config.json": "{}",
    "2_Dense/model.safetensors": "weights",
    "2_Dense/inner/config.json": "{}",
    "tokenizer.json": '{"version": 1.0, "truncation": {"max_length": 64}, "model": 1}',
    "tokenizer_config.json": '{"model_max_length": 64, "max_length": 64}',
    "sentence_bert_config.json": '{"max_seq_length": 64}',
    "sentence_roberta_config.json": '{"max_seq_length": null}',
  });
  expect(Object.keys(files).filter((name) => /onnx|4_Other|name$|outside|etc/.test(name))).toEqual([]);
  expect(notes).toEqual([
    expect.stringMatching(/^2_Dense\/name was not copied: it is a link that leads out of the checkpoint/),
    expect.stringMatching(
      /^modules\.json names "\.\.\/outside", which is not a path inside the checkpoint; it was not copied/,
    ),
    expect.stringContaining('names "/etc"'),
    expect.stringContaining('names "a/../../b"'),
    expect.stringContaining("names onnx, where the converted model is written"),
  ]);
});
