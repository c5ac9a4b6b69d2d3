import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { titledTests } from "./titled-tests.ts";

const root = new URL("../../../", import.meta.url);
const table = readFileSync(new URL("docs/faults.md", root), "utf8");

interface Row {
  readonly number: number;
  readonly tests: readonly { readonly file: string; readonly title: string }[];
}

/** The files and titles of a cell, which stand between back quotes in the table. */
function testsOf(cell: string): Row["tests"] {
  return cell.split("<br>").flatMap((one) => {
    const [, file, titles] = /^`([\w./-]+\.test\.ts)`: ((?:`[^`]+`(?:, (?=`))?)+)$/.exec(one) ?? [];
    if (file === undefined || titles === undefined) throw new Error(`No test is named in ${JSON.stringify(one)}.`);
    return [...titles.matchAll(/`([^`]+)`/g)].map(([, title]) => ({ file, title: title! }));
  });
}

const rows: Row[] = [...table.matchAll(/^\| *(\d+) *\|[^|]+\|([^|]+)\|[^|]+\|$/gm)].map(([, number, tests]) => ({
  number: Number(number),
  tests: testsOf(tests!.trim()),
}));

describe("the table of faults", () => {
  test("has its 108 rows", () => {
    expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: 108 }, (_, i) => i + 1));
  });

  test.each(rows)("$number: its tests are there, and run", ({ tests }) => {
    for (const { file, title } of tests) {
      const verdicts = titledTests(file, readFileSync(new URL(file, root), "utf8"), title);
      expect(verdicts, `${file}: ${title}`).toContain("runs");
      expect(verdicts, `${file}: ${title}`).not.toContain("skipped");
    }
  });
});

const found = (source: string): string[] => titledTests("some.test.ts", source, "adds");

describe("a title counts", () => {
  test.each([
    ["as a test's own", 'test("adds", () => {});'],
    ["within a describe", 'describe("numbers", () => { it("adds", () => {}); });'],
    ["as a describe's", 'describe.each([1, 2])("adds", () => { test("x", () => {}); });'],
    ["in a table", 'test.each([["adds", 1]])("%s", () => {});'],
    ["in a table of its own", 'const cases = [{ name: "adds" }]; test.each(cases)("$name", () => {});'],
    ["in a loop over a table", 'const all = { "adds": 1 }; for (const name of Object.keys(all)) test(name, () => {});'],
    ["with a condition", 'test.skipIf(!hasZoo)("adds", () => {});'],
    ["with a condition around it", 'describe.runIf(hasZoo)("zoo", () => { test("adds", () => {}); });'],
  ])("%s", (_, source) => {
    expect(found(source)).toEqual(["runs"]);
  });

  test.each([
    ["skipped", 'test.skip("adds", () => {});'],
    ["to do", 'test.todo("adds");'],
    ["skipped in every case", 'test.skip.each([["adds", 1]])("%s", () => {});'],
    ["skipped in a table of its own", 'const cases = [{ name: "adds" }]; test.skip.each(cases)("$name", () => {});'],
    ["skipped with its describe", 'describe.skip("numbers", () => { test("adds", () => {}); });'],
    ["skipped by a constant", 'test.skipIf(true)("adds", () => {});'],
    ["skipped by an option", 'test("adds", { skip: true }, () => {});'],
  ])("not when it is %s", (_, source) => {
    expect(found(source)).toEqual(["skipped"]);
  });

  test.each([
    ["in a comment", '// test("adds", () => {});'],
    ["in the body of another test", 'test("other", () => { expect("adds").toBe("adds"); });'],
    ["in a table that no test reads", 'const cases = [{ name: "adds" }];'],
  ])("not %s", (_, source) => {
    expect(found(source)).toEqual([]);
  });
});
