import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { describe, expect, test } from "vitest";

import { silent } from "../../src/progress.ts";
import { prepareOutput } from "../../src/folder/check-output.ts";
import { OutputFolder } from "../../src/folder/output-folder.ts";
import { workFolderFor } from "../../src/folder/work-folder.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

const built = new URL("../../dist/node.js", import.meta.url);
const forced = { force: true, sources: [] };

/**
 * Replaces an output folder in a process of its own, which kills itself before the given call of rename; or whose first
 * calls of rename, that many, fail with a code of the system. It prints the error that it ends with.
 */
const replacing = `
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
const [built, out, killAt, failure, failures] = process.argv.slice(1);
const rename = fs.renameSync;
let calls = 0;
fs.renameSync = (from, to) => {
  if (calls < Number(failures ?? 0)) {
    calls++;
    throw Object.assign(new Error(failure + ": rename"), { code: failure });
  }
  if (String(calls++) === killAt) process.kill(process.pid, "SIGKILL");
  rename(from, to);
};
syncBuiltinESMExports();
const { OutputFolder, prepareOutput } = await import(built);
const options = { force: true, sources: [] };
await prepareOutput(out, options, { note() {} }).catch(({ code, message }) => {
  process.stdout.write("before the work: " + code + ", " + message);
  process.exit(3);
});
const output = await OutputFolder.begin(out, options);
await output.write("onnx/model.onnx", "new");
await output.write("favor.json", JSON.stringify({ files: await output.files() }));
await output.commit();
`;

async function convertTo(path: string, contents: string): Promise<void> {
  const output = await OutputFolder.begin(path, forced);
  await output.write("onnx/model.onnx", contents);
  await output.write("favor.json", JSON.stringify({ files: await output.files() }));
  await output.commit();
}

/** What settling says about the runs that were killed at a folder. */
async function settled(out: string): Promise<string[]> {
  const said: string[] = [];
  await prepareOutput(out, forced, { ...silent, note: (line) => void said.push(line) });
  return said.filter((line) => !line.endsWith(": kept."));
}

/** Leaves an unfinished folder of an output, its name changed. @returns the output. */
async function unfinished(change: (name: string, pid: number) => string): Promise<string> {
  const out = join(await temporaryFolder(), "out");
  const { path } = workFolderFor(out);
  const renamed = join(dirname(path), change(basename(path), process.pid));
  await mkdir(join(renamed, "new"), { recursive: true });
  await writeFile(join(renamed, "new", "model.onnx"), "");
  return out;
}

/** A process that runs until it is killed. */
function other(): { readonly pid: number; kill(): void } {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  return { pid: child.pid!, kill: () => void child.kill("SIGKILL") };
}

describe.skipIf(!existsSync(built))("a run that is killed or cannot rename (needs `npm run build`)", () => {
  // Moving the folder aside and back; moving it aside, moving two foreign things over, and putting the new one in place.
  test.each([
    [0, "old", [expect.stringMatching(/^Removed/)]],
    [1, "old", [expect.stringMatching(/^Restored/)]],
    [2, "old", [expect.stringMatching(/^Removed/)]],
    [3, "new", [expect.stringMatching(/^Finished/)]],
    [4, "new", [expect.stringMatching(/^Finished/)]],
    [5, "new", [expect.stringMatching(/^Finished/)]],
    ["never", "new", []],
  ] as const)("before rename %s: the folder is whole (%s), nobody's files are lost", async (killAt, model, said) => {
    const parent = await temporaryFolder();
    const out = join(parent, "out");
    await convertTo(out, "old");
    await mkdir(join(out, ".git"));
    await writeFile(join(out, ".git", "HEAD"), "theirs");
    await writeFile(join(out, "onnx", "other.onnx"), "theirs");
    const argv = ["--input-type=module", "-e", replacing, built.href, out, String(killAt)];
    const { signal, status, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8" });
    expect({ signal, status, stderr }).toEqual(
      killAt === "never" ? { signal: null, status: 0, stderr: "" } : { signal: "SIGKILL", status: null, stderr: "" },
    );
    expect(await settled(out)).toEqual(said);
    expect(await readFile(join(out, "onnx", "model.onnx"), "utf8")).toBe(model);
    expect(await readFile(join(out, ".git", "HEAD"), "utf8")).toBe("theirs");
    expect(await readFile(join(out, "onnx", "other.onnx"), "utf8")).toBe("theirs");
    expect((await readdir(out)).toSorted()).toEqual([".git", "favor.json", "onnx"]);
    expect(await readdir(parent)).toEqual(["out"]);
  });

  test.each(["ENOTEMPTY", "EBUSY"])("a rename that fails with %s is tried again", async (code) => {
    const parent = await temporaryFolder();
    const out = join(parent, "out");
    await convertTo(out, "old");
    const argv = ["--input-type=module", "-e", replacing, built.href, out, "never", code, "2"];
    expect(spawnSync(process.execPath, argv, { encoding: "utf8" })).toMatchObject({
      status: 0,
      stdout: "",
      stderr: "",
    });
    expect(await readFile(join(out, "onnx", "model.onnx"), "utf8")).toBe("new");
    expect(await readdir(parent)).toEqual(["out"]);
  });

  test("a folder that cannot be moved, as across devices: refused before the work", async () => {
    const parent = await temporaryFolder();
    const out = join(parent, "out");
    await convertTo(out, "old");
    const argv = ["--input-type=module", "-e", replacing, built.href, out, "never", "EXDEV", "1"];
    const { status, stdout } = spawnSync(process.execPath, argv, { encoding: "utf8" });
    expect(status).toBe(3);
    expect(stdout).toMatch(
      /^before the work: output-unwritable, .*\(EXDEV: rename\)\. The folder cannot be moved aside, .*: move it elsewhere yourself/,
    );
    expect(await readFile(join(out, "onnx", "model.onnx"), "utf8")).toBe("old");
    expect(await readdir(parent)).toEqual(["out"]);
  });

  test("between the two renames, and the folder was made anew since: nothing of the old one is removed", async () => {
    const parent = await temporaryFolder();
    const out = join(parent, "out");
    await convertTo(out, "old");
    await writeFile(join(out, "notes.txt"), "theirs");
    spawnSync(process.execPath, ["--input-type=module", "-e", replacing, built.href, out, "3"]);
    await convertTo(out, "newer");
    const [said] = await settled(out);
    const [, old] = /^(.*\/old) holds files that were in .* Move them where they belong/.exec(said!)!;
    expect(await readFile(join(old!, "notes.txt"), "utf8")).toBe("theirs");
  });
});

describe("an unfinished folder beside the output", () => {
  test.each([
    ["of a process that runs", (name: string) => name],
    ["of another machine", (name: string) => name.replace(/^(\.out\.partial-\d+-)\w{8}/, "$112345678")],
    ["of another output", (name: string) => name.replace("out", "out2")],
    ["that only looks like one", (name: string) => `${name}.backup`],
  ])("%s is left alone", async (_, change) => {
    const out = await unfinished(change);
    expect(await settled(out)).toEqual([]);
    expect(await readdir(dirname(out))).toHaveLength(1);
  });

  test("of a process that is gone is removed", async () => {
    // The largest process id of Linux and macOS is below this.
    const out = await unfinished((name, pid) => name.replace(`-${pid}-`, `-${2 ** 22 + 1}-`));
    expect(await settled(out)).toEqual([`Removed what a killed run left next to ${out}.`]);
    expect(await readdir(dirname(out))).toEqual([]);
  });

  test.skipIf(process.platform !== "linux")("of a process whose number another one has now is removed", async () => {
    const running = other();
    try {
      const out = await unfinished((name, pid) => name.replace(`-${pid}-`, `-${running.pid}-`));
      expect(await settled(out)).toHaveLength(1);
      expect(await readdir(dirname(out))).toEqual([]);
    } finally {
      running.kill();
    }
  });

  test.skipIf(process.getuid?.() !== 0)("of another user is left alone", async () => {
    const out = await unfinished((name, pid) => name.replace(`-${pid}-`, `-${2 ** 22 + 1}-`));
    const [name] = await readdir(dirname(out));
    execFileSync("chown", ["65534", join(dirname(out), name!)]);
    expect(await settled(out)).toEqual([]);
    expect(await readdir(dirname(out))).toEqual([name]);
  });
});
