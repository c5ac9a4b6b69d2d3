import { mkdir, readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

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
  for (const name of await readdir(output.path)) files[name] = await readFile(join(output.path, name), "utf8");
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
