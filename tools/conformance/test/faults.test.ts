import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

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
  test("has its 105 rows", () => {
    expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: 105 }, (_, i) => i + 1));
  });

  test.each(rows)("$number: its tests are there", ({ tests }) => {
    for (const { file, title } of tests) {
      const source = readFileSync(new URL(file, root), "utf8");
      // A string of the test file: a title, or what a table of cases puts into one.
      expect([`"${title}"`, `\`${title}\``].some((literal) => source.includes(literal))).toBe(true);
    }
  });
});
