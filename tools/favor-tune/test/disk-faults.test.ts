import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, openSync, closeSync, readdirSync, rmSync, writeSync } from "node:fs";
import { mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { silent } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { calibration } from "@favor/test-support/antibody";
import { mayMount, mount, unmount } from "@favor/test-support/mount";
import { tune } from "../src/index.ts";
import type { TuneRequest } from "../src/index.ts";
import { shallowOnce } from "./converted.ts";
import { favorTune } from "./terminal.ts";

const { converted } = shallowOnce({ count: 8 });

const small = { data: calibration, maxLength: 16, batch: 2, evalCount: 4, evalEvery: 1, steps: 2 } as const;

const modelBytes = async (folder: string): Promise<Buffer> => readFile(join(folder, "onnx", "model.onnx"));

/** Fills a disk to its last byte when a stage or a line of progress begins with a text. */
function fillAt(text: string, disk: string): Progress {
  const fill = (line: string): void => {
    if (!line.startsWith(text)) return;
    const file = openSync(join(disk, "filler"), "w");
    try {
      for (let size = 1 << 20; size >= 1;) {
        try {
          writeSync(file, Buffer.alloc(size));
        } catch {
          size = Math.floor(size / 4);
        }
      }
    } finally {
      closeSync(file);
    }
  };
  return { ...silent, stage: fill, note: fill };
}

const isRoot = mayMount();
describe.skipIf(!isRoot)(`a disk of 24 MB${isRoot ? "" : " (skipped: only root on Linux may mount one)"}`, () => {
  let disk: string;

  beforeAll(async () => {
    disk = await mkdtemp(join(tmpdir(), "favor-tune-disk-"));
    mount(disk, "24m");
  });

  afterAll(async () => {
    unmount(disk);
    await rm(disk, { recursive: true });
  });

  async function request(name: string): Promise<TuneRequest & { readonly output: string }> {
    const source = join(disk, `${name}-source`);
    cpSync(await converted(), source, { recursive: true });
    return { source, output: join(disk, name), stage: "mlm", backend: "wasm", ...small };
  }

  test.each([
    // After the first checkpoint: the log, the model to evaluate, or the next checkpoint does not fit.
    ["mlm 2:", 1],
    ["Measuring the result", 2],
    ["Writing the folder", 2],
  ])("that is full at %j: the training is kept, and --resume ends in the same bytes", async (moment, done) => {
    const wanted = await request("full");
    const whole = await tune({ ...wanted, output: join(disk, "whole") });
    const expected = await modelBytes(whole.folder);
    rmSync(whole.folder, { recursive: true });
    await expect(tune(wanted, fillAt(moment, disk))).rejects.toMatchObject({
      code: expect.stringMatching(/^(disk-failed|checkpoint-unwritable)$/) as string,
      message: expect.stringMatching(/ENOSPC.*Free some space.*MB.*--resume/) as string,
    });
    expect(readdirSync(disk).toSorted()).toEqual(["filler", "full-source", "full.training"]);
    expect(readdirSync(`${wanted.output}.training`)).toContain("checkpoint.safetensors");
    rmSync(join(disk, "filler"));
    let trained = 0;
    const count: Progress = { ...silent, note: (line) => void (trained += /^mlm \d:/.test(line) ? 1 : 0) };
    const { folder } = await tune({ ...wanted, resume: true }, count);
    // What was done is not done again.
    expect(trained).toBe(2 - done);
    expect((await modelBytes(folder)).equals(expected)).toBe(true);
    for (const name of readdirSync(disk)) rmSync(join(disk, name), { recursive: true });
  });

  test("that is full from the beginning: a note before the training, an error that says how much, nothing left", async () => {
    const wanted = await request("early");
    const said: string[] = [];
    const fill = fillAt("Reading the data", disk);
    const tell: Progress = { ...fill, note: (line) => void said.push(line) };
    await expect(tune(wanted, tell)).rejects.toMatchObject({
      code: "disk-failed",
      message: expect.stringMatching(
        /takes about [\d.]+ MB there, [\d.]+ (?:bytes|kB) are free.*run the same command again/,
      ) as string,
    });
    expect(readdirSync(disk).toSorted()).toEqual(["early-source", "filler"]);
    await expect(tune(wanted, tell)).rejects.toMatchObject({ code: "disk-failed" });
    expect(said).toContainEqual(
      expect.stringMatching(/^The run takes about [\d.]+ MB .* [\d.]+ (?:bytes|kB) are free there\.$/),
    );
    rmSync(join(disk, "filler"));
    rmSync(wanted.source, { recursive: true });
  });

  test("that is read-only: the command line says so, with exit code 1", async () => {
    const source = await converted();
    execFileSync("mount", ["-o", "remount,ro", disk]);
    try {
      const steps = ["--steps", "1", "--max-length", "16", "--batch", "2", "--backend", "wasm"];
      const where = ["--data", calibration, "-o", join(disk, "out")];
      const { status, stderr } = await favorTune(source, ...where, "--stage", "mlm", "--quiet", ...steps);
      expect(status).toBe(1);
      expect(stderr).toMatch(/^favor-tune: .*cannot be written \(EROFS.*make it writable/);
    } finally {
      execFileSync("mount", ["-o", "remount,rw", disk]);
    }
  });
});

describe.skipIf(process.platform !== "linux")("a device that is always full", () => {
  test("under the log: typed, and the run can be had again", async () => {
    const source = await converted();
    const training = `${source}-tuned.training`;
    mkdirSync(training);
    await symlink("/dev/full", join(training, "log.jsonl"));
    // Without --resume the folder would be made anew.
    const wanted = { source, stage: "mlm", backend: "wasm", ...small, resume: true } as const;
    await expect(tune(wanted)).rejects.toMatchObject({
      code: "disk-failed",
      message: expect.stringMatching(/ENOSPC.*Free some space.*run the same command again/) as string,
    });
    const { folder } = await tune(wanted);
    expect((await readFile(join(folder, "log.jsonl"), "utf8")).trim().split("\n").length).toBe(2);
  });
});
