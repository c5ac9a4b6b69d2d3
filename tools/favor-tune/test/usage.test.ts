import { expect, test } from "vitest";

import { optionHelp } from "../src/arguments.ts";
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
