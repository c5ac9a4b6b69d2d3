import { expect, test } from "vitest";

import { favorTune } from "./terminal.ts";

test("--help lists every option and the exit codes", async () => {
  const { status, stdout } = await favorTune("--help");
  expect(status).toBe(0);
  for (const option of ["stage", "steps", "batch", "learning-rate", "warmup", "schedule", "max-length", "seed"]) {
    expect(stdout).toContain(`--${option}`);
  }
  for (const option of ["backend", "accumulate", "eval-every", "eval-data", "patience", "resume", "json", "quiet"]) {
    expect(stdout).toContain(`--${option}`);
  }
  for (const option of ["train", "teacher", "kl", "preset", "control"]) expect(stdout).toContain(`--${option}`);
  expect(stdout).toContain("130 interrupted");
});

test.each([
  [["folder"], "data"],
  [["folder", "--data", "x.fasta", "--steps", "0"], "--steps takes a whole number from 1"],
  [["folder", "--data", "x.fasta", "--kl", "2"], "--kl takes a number from 0 to 1"],
  [["folder", "--data", "x.fasta", "--stage", "sleep"], "stage"],
  [["folder", "--data", ""], "--data takes a path"],
  [["folder", "--data", "x.fasta", "--epochs", "3"], "epochs"],
])("usage errors end with code 2: %j", async (argv, message) => {
  const { status, stdout, stderr } = await favorTune(...argv);
  expect(status).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toContain(message);
});
