import { readFileSync } from "node:fs";
import * as core from "@favor/core";
import { featureChoices } from "@favor/rewriter";
import * as tfjs from "@favor/tfjs";
import { expect, it } from "vitest";

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), "utf8");
const readme = read("packages/core/README.md");
const [, section] = readme.split("\n## Names of attention\n");
const rows = section!
  .split("\n## ")[0]!
  .split("\n")
  .filter((line) => /^\| [^-]/.test(line))
  .slice(1)
  .map((line) => line.split("|").map((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!)));
/** The names in a column of the table. */
const column = (at: number): string[] => rows.flatMap((cells) => cells[at]!);
const functionsOf = (exported: object): string[] =>
  Object.entries(exported).flatMap(([name, value]) => (typeof value === "function" ? name : []));

it("the names of attention in the README of core exist", () => {
  expect(rows).toHaveLength(6);
  expect(functionsOf(core)).toEqual(expect.arrayContaining(column(2)));
  expect(functionsOf(tfjs)).toEqual(expect.arrayContaining(column(3).filter((name) => !name.includes(":"))));
  const layer = new tfjs.MultiHeadAttention({ numHeads: 1, keyDim: 2, attention: "exact", useCausalMask: true });
  expect(Object.entries(layer.getConfig()).map(([name, value]) => `${name}: ${JSON.stringify(value)}`)).toEqual(
    expect.arrayContaining(column(4).filter((name) => / ("|true)/.test(name))),
  );
  const features = column(5).flatMap((name) =>
    name.startsWith("--features ") ? name.slice("--features ".length) : [],
  );
  expect(features).toContain("exact");
  expect(featureChoices).toEqual(expect.arrayContaining(features));
  for (const name of column(5)) expect(read("tools/favor-convert/src/arguments.ts")).toContain(name.split(/[- ]+/)[1]);
});

it("functions of core and tfjs with the same name stand in the same row", () => {
  const inBoth = functionsOf(core).filter((name) => functionsOf(tfjs).includes(name));
  for (const name of inBoth) {
    const [cells] = rows.filter((each) => each[2]!.includes(name));
    expect({ name, tfjs: cells?.[3] }).toEqual({ name, tfjs: expect.arrayContaining([name]) });
  }
});
