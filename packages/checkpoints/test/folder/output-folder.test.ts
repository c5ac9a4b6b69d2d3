import { chmod, lstat, mkdir, readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { OutputFolder } from "../../src/folder/output-folder.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

const fresh = { force: false, sources: [] };
const forced = { force: true, sources: [] };

/** An output folder of ours, with one file. */
async function written(path: string, contents: string): Promise<void> {
  const output = await OutputFolder.begin(path, forced);
  await output.write("favor.json", contents);
  await output.commit();
}

describe("a folder appears whole or not at all", () => {
  test("nothing is seen under its name before commit, everything after", async () => {
    const parent = await temporaryFolder();
    const output = await OutputFolder.begin(join(parent, "a", "b"), fresh);
    await output.write("onnx/model.onnx", "model");
    expect(await readdir(join(parent, "a"))).toEqual([expect.stringMatching(/^\.b\.partial-/)]);
    await output.commit();
    expect(await readdir(join(parent, "a"))).toEqual(["b"]);
    expect(await readFile(join(parent, "a", "b", "onnx", "model.onnx"), "utf8")).toBe("model");
  });

  test("discard leaves nothing, not even the parents that were made", async () => {
    const parent = await temporaryFolder();
    const output = await OutputFolder.begin(join(parent, "a", "b", "c"), fresh);
    await output.write("x", "");
    await output.discard();
    expect(await readdir(parent)).toEqual([]);
  });

  test("discard leaves what others put into a parent meanwhile", async () => {
    const parent = await temporaryFolder();
    const output = await OutputFolder.begin(join(parent, "a", "b"), fresh);
    await writeFile(join(parent, "a", "other"), "");
    await output.discard();
    expect(await readdir(join(parent, "a"))).toEqual(["other"]);
  });

  test("force replaces the old folder in one step and leaves no trace of it", async () => {
    const parent = await temporaryFolder();
    const path = join(parent, "out");
    await written(path, "old");
    const output = await OutputFolder.begin(path, forced);
    await output.write("favor.json", "new");
    expect(await readFile(join(path, "favor.json"), "utf8")).toBe("old");
    await output.commit();
    expect(await readFile(join(path, "favor.json"), "utf8")).toBe("new");
    expect(await readdir(parent)).toEqual(["out"]);
  });

  test("a folder that appeared meanwhile is not overwritten without force", async () => {
    const parent = await temporaryFolder();
    const output = await OutputFolder.begin(join(parent, "out"), fresh);
    await mkdir(join(parent, "out"));
    await writeFile(join(parent, "out", "x"), "theirs");
    await expect(output.commit()).rejects.toMatchObject({ code: "output-unwritable" });
    await output.discard();
    expect(await readdir(parent)).toEqual(["out"]);
    expect(await readFile(join(parent, "out", "x"), "utf8")).toBe("theirs");
  });

  test("copies follow links and do not inherit a read-only mode", async () => {
    const parent = await temporaryFolder();
    await writeFile(join(parent, "blob"), "{}");
    await chmod(join(parent, "blob"), 0o444);
    await symlink(join(parent, "blob"), join(parent, "config.json"));
    const output = await OutputFolder.begin(join(parent, "out"), fresh);
    await output.copy(join(parent, "config.json"), "config.json");
    await output.commit();
    const copy = await lstat(join(parent, "out", "config.json"));
    expect(copy.isFile()).toBe(true);
    expect(copy.mode & 0o200).toBe(0o200);
  });
});

describe("what is refused before any work", () => {
  test("an existing folder without force", async () => {
    const path = join(await temporaryFolder(), "out");
    await written(path, "old");
    await expect(OutputFolder.begin(path, fresh)).rejects.toMatchObject({ code: "output-exists" });
  });

  test("with force: a folder that is none of ours, and a file", async () => {
    const parent = await temporaryFolder();
    await mkdir(join(parent, "home"));
    await writeFile(join(parent, "home", "thesis.tex"), "");
    await expect(OutputFolder.begin(join(parent, "home"), forced)).rejects.toMatchObject({ code: "output-not-favor" });
    await writeFile(join(parent, "file"), "");
    await expect(OutputFolder.begin(join(parent, "file"), forced)).rejects.toMatchObject({ code: "output-not-favor" });
  });

  test("the source itself, a folder that holds it, and either by way of a link", async () => {
    const parent = await temporaryFolder();
    const source = join(parent, "source");
    await mkdir(source);
    await symlink(source, join(parent, "link"));
    const options = { force: true, sources: [source] };
    await expect(OutputFolder.begin(source, options)).rejects.toMatchObject({ code: "output-is-source" });
    await expect(OutputFolder.begin(join(parent, "link"), options)).rejects.toMatchObject({ code: "output-is-source" });
    await expect(OutputFolder.begin(parent, options)).rejects.toMatchObject({ code: "output-holds-source" });
    await expect(OutputFolder.begin(join(source, "..", "..", "."), options)).rejects.toMatchObject({
      code: "output-holds-source",
    });
    const inside = await OutputFolder.begin(join(source, "converted"), options);
    await inside.discard();
    expect(await readdir(source)).toEqual([]);
  });
});

test("a disk that refuses is an error that names the folder and says what to do", async () => {
  const parent = await temporaryFolder();
  await writeFile(join(parent, "file"), "");
  await expect(OutputFolder.begin(join(parent, "file", "out"), fresh)).rejects.toMatchObject({
    code: "output-unwritable",
    message: expect.stringMatching(
      /file\/out cannot be written \(E[A-Z]+.*name another folder after -o\. Nothing/,
    ) as string,
  });
  const output = await OutputFolder.begin(join(parent, "out"), fresh);
  const full = Object.assign(
    new Error("write failed", { cause: Object.assign(new Error("ENOSPC: no space"), { code: "ENOSPC" }) }),
    { code: "no-space" },
  );
  await expect(output.fill(() => Promise.reject(full))).rejects.toMatchObject({
    code: "output-unwritable",
    message: expect.stringContaining("The disk is full: free some space") as string,
  });
  await output.discard();
  expect(await readdir(parent)).toEqual(["file"]);
});
