import { expect, test } from "vitest";

import { optionHelp, parseArguments } from "../src/arguments.ts";
import { favorTune } from "./terminal.ts";

/** Text on one line, however the terminal's width breaks it. */
const unwrapped = (text: string): string => text.replaceAll(/\s+/g, " ");

test("--help lists every option with what it does, no other, and the exit codes", async () => {
  const { status, stdout } = await favorTune("--help");
  expect(status).toBe(0);
  const listed = [...stdout.matchAll(/^ *(?:-\w, +)?--([a-z][a-z-]*) /gm)].map(([, name]) => name!);
  expect(listed.toSorted()).toEqual([...Object.keys(optionHelp), "help", "version"].toSorted());
  expect(listed.length).toBeGreaterThan(30);
  const help = unwrapped(stdout);
  for (const { describe } of Object.values(optionHelp)) expect(help).toContain(unwrapped(describe));
  expect(help).toContain("129, 130, 143 interrupted");
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

test("settings reach the request by their names, and those that are not given do not", async () => {
  const given =
    "folder --data train.txt --eval-data test.txt --distill-learning-rate 0.1 --mlm-steps 7 --stage distill,align --resume " +
    "--threads 2 --quiet";
  expect(await parseArguments(given.split(" "))).toEqual({
    quiet: true,
    request: {
      source: "folder",
      data: "train.txt",
      evalData: "test.txt",
      distillLearningRate: 0.1,
      mlmSteps: 7,
      stage: ["distill", "align"],
      resume: true,
      threads: 2,
    },
  });
});
