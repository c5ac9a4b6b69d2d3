import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { describe, expect, test } from "vitest";

import { silent } from "../../src/progress.ts";
import { checkOutput, prepareOutput } from "../../src/folder/check-output.ts";
import { OutputFolder } from "../../src/folder/output-folder.ts";
import { mayMount, mount, unmount } from "@favor/test-support/mount";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

const forced = { force: true, sources: [] };

/** Writes an output folder as the tools do: favor.json last, with a list of the others. */
async function convertTo(path: string, files: Record<string, string>): Promise<void> {
  const output = await OutputFolder.begin(path, forced);
  try {
    for (const [name, contents] of Object.entries(files)) await output.write(name, contents);
    await output.write("favor.json", JSON.stringify({ files: await output.files() }));
    await output.commit();
  } catch (error) {
    await output.discard();
    throw error;
  }
}

async function put(folder: string, files: Record<string, string>): Promise<void> {
  for (const [name, contents] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), contents);
  }
}

/** Every file of a folder but favor.json, with its contents. */
async function contentsOf(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === "favor.json") continue;
    const path = join(entry.parentPath, entry.name);
    found[path.slice(folder.length + 1)] = await readFile(path, "utf8");
  }
  return found;
}

const model = { "onnx/model.onnx": "old model", "README.md": "old card", "vocab.txt": "old words" };

describe("--force", () => {
  test("replaces what favor.json lists, and keeps everything else as it is", async () => {
    const parent = await temporaryFolder();
    const out = join(parent, "out");
    await convertTo(out, model);
    await chmod(out, 0o750);
    const theirs = {
      ".git/HEAD": "ref: refs/heads/main",
      "onnx/model_quantized.onnx": "theirs",
      "1_Pooling/notes.txt": "theirs",
      "thesis.tex": "theirs",
    };
    await put(out, theirs);
    await mkdir(join(out, "empty"));
    await symlink("/nowhere", join(out, "link"));
    const inode = (await stat(join(out, ".git"))).ino;
    const said: string[] = [];
    await prepareOutput(out, forced, { ...silent, note: (line) => void said.push(line) });
    expect(said).toEqual([
      expect.stringMatching(/^Favor did not write \.git, 1_Pooling, empty, .* and 1 more in .*out: kept\.$/),
    ]);
    await convertTo(out, { "onnx/model.onnx": "new model", "README.md": "new card", "1_Pooling/config.json": "{}" });
    expect(await contentsOf(out)).toEqual({
      ...theirs,
      "onnx/model.onnx": "new model",
      "README.md": "new card",
      "1_Pooling/config.json": "{}",
    });
    expect(await readdir(out)).toEqual(expect.arrayContaining(["empty", "link"]));
    expect((await stat(join(out, ".git"))).ino).toBe(inode);
    expect((await stat(out)).mode & 0o777).toBe(0o750);
    expect(await readdir(parent)).toEqual(["out"]);
  });

  test.each([
    ["a file of ours that was changed", "README.md"],
    ["a file of theirs", "config.json"],
    ["a folder of theirs", "config.json/x"],
    ["a file where a folder would be", "1_Pooling"],
  ])("refuses %s with the name of one to be written, before the work, and at its end", async (_, name) => {
    const parent = await temporaryFolder();
    const out = join(parent, "out");
    await convertTo(out, model);
    if (name === "README.md") await rm(join(out, name));
    await put(out, { [name]: "changed by hand" });
    const before = await contentsOf(out);
    const files = ["onnx/model.onnx", "README.md", "config.json", "1_Pooling/config.json"];
    const refusal = {
      code: "output-holds-foreign",
      message: expect.stringMatching(/^.*out holds (README\.md|config\.json|1_Pooling), which .* Move it elsewhere/),
    };
    await expect(checkOutput(out, { ...forced, files })).rejects.toMatchObject(refusal);
    const late = convertTo(out, Object.fromEntries(files.map((file) => [file, "new"])));
    await expect(late).rejects.toMatchObject(refusal);
    expect(await contentsOf(out)).toEqual(before);
    expect(await readdir(parent)).toEqual(["out"]);
  });

  test("keeps a changed file that is not written again, and removes one that nobody changed", async () => {
    const out = join(await temporaryFolder(), "out");
    await convertTo(out, { ...model, "log.jsonl": "old log" });
    await put(out, { "vocab.txt": "my words" });
    await convertTo(out, { "onnx/model.onnx": "new model" });
    expect(await contentsOf(out)).toEqual({ "onnx/model.onnx": "new model", "vocab.txt": "my words" });
  });

  test("an older favor.json, without a list: the model by its hash, what Favor writes by name", async () => {
    const out = join(await temporaryFolder(), "out");
    const sha256 = createHash("sha256").update("old model").digest("hex");
    const older = JSON.stringify({ format: 1, model: { file: "onnx/model.onnx", sha256 } });
    await put(out, { ...model, "favor.json": older, "onnx/model.onnx_data": "weights", "notes.txt": "theirs" });
    await convertTo(out, { "onnx/model.onnx": "new model", "README.md": "new card" });
    const expected = { "onnx/model.onnx": "new model", "README.md": "new card", "notes.txt": "theirs" };
    expect(await contentsOf(out)).toEqual(expected);
    await put(out, { "favor.json": older });
    await expect(convertTo(out, { "onnx/model.onnx": "newer" })).rejects.toMatchObject({
      code: "output-holds-foreign",
      details: { names: ["onnx/model.onnx"] },
    });
  });

  test("a favor.json that is not ours lists nothing: nothing of its folder is replaced", async () => {
    const out = join(await temporaryFolder(), "out");
    await put(out, { "favor.json": '{"files": "../*"}', "model.onnx": "theirs" });
    await expect(convertTo(out, { "model.onnx": "new" })).rejects.toMatchObject({ code: "output-holds-foreign" });
    await convertTo(out, { "onnx/model.onnx": "new" });
    expect(await contentsOf(out)).toEqual({ "onnx/model.onnx": "new", "model.onnx": "theirs" });
  });

  test("a link in the place of a listed file is not ours, whatever it leads to", async () => {
    const parent = await temporaryFolder();
    const out = join(parent, "out");
    await convertTo(out, model);
    await rm(join(out, "README.md"));
    await writeFile(join(parent, "card"), "old card");
    await symlink("../card", join(out, "README.md"));
    await expect(convertTo(out, { "README.md": "new" })).rejects.toMatchObject({ code: "output-holds-foreign" });
    expect(await readFile(join(parent, "card"), "utf8")).toBe("old card");
  });
});

describe("a place that no folder can be moved to is found before any work", () => {
  test("a link, to nowhere or to a folder", async () => {
    const parent = await temporaryFolder();
    await symlink("nowhere", join(parent, "dangling"));
    await convertTo(join(parent, "real"), model);
    await symlink("real", join(parent, "link"));
    const refused = async (name: string, message: RegExp): Promise<void> => {
      const prepared = prepareOutput(join(parent, name), forced, silent);
      await expect(prepared).rejects.toMatchObject({
        code: "output-is-link",
        message: expect.stringMatching(message) as string,
      });
    };
    await refused("dangling", /dangling is a link to nowhere, which does not exist\. Remove the link, or/);
    await refused("dangling/out", /dangling is a link to nowhere, which does not exist\. Remove the link, or/);
    await refused("link", /link is a link to real, and would be replaced\. Name the folder itself, or/);
    // A link on the way is followed.
    await symlink(".", join(parent, "here"));
    await convertTo(join(parent, "here", "out"), model);
    expect((await readdir(parent)).toSorted()).toEqual(["dangling", "here", "link", "out", "real"]);
  });
});

const isRoot = mayMount();
describe.skipIf(!isRoot)(`mount points${isRoot ? "" : " (skipped: only root on Linux may mount)"}`, () => {
  test("the output, or a folder of theirs in it, is a mount point: refused before any work", async () => {
    const parent = await temporaryFolder();
    const out = join(parent, "with a space");
    await mkdir(out);
    mount(out, "64k");
    try {
      await expect(prepareOutput(out, forced, silent)).rejects.toMatchObject({
        code: "output-is-mount",
        message: expect.stringContaining(`Name a folder inside it: -o ${join(out, "model")}.`) as string,
      });
      await convertTo(join(out, "model"), model);
      // The same device once more: only the kernel's list tells.
      await mkdir(join(out, "data"));
      execFileSync("mount", ["--bind", join(out, "model"), join(out, "data")]);
      try {
        const bound = prepareOutput(join(out, "data"), forced, silent);
        await expect(bound).rejects.toMatchObject({ code: "output-is-mount" });
      } finally {
        unmount(join(out, "data"));
      }
      await mkdir(join(out, "model", "data"));
      mount(join(out, "model", "data"), "64k");
      try {
        await expect(prepareOutput(join(out, "model"), forced, silent)).rejects.toMatchObject({
          code: "output-is-mount",
          details: { path: join(out, "model", "data") },
        });
      } finally {
        unmount(join(out, "model", "data"));
      }
    } finally {
      unmount(out);
    }
    expect(await readdir(out)).toEqual([]);
  });
});
