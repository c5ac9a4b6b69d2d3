import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { losslessTables, type LosslessFile } from "../src/lossless-table.ts";

const measurements = new URL("../../../docs/measurements/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, measurements), "utf8");

/** Without the widths of columns, which the formatter chooses. */
const cells = (text: string): string[] =>
  text.split("\n").map((line) => line.replace(/ *\| */g, "|").replace(/-+:/g, "-:"));

test("the page has the tables of what was measured", () => {
  const [, tables] = /<!-- tables -->\n\n([\s\S]*)\n\n<!-- end of tables -->/.exec(read("lossless.md"))!;
  expect(cells(tables!)).toEqual(cells(losslessTables(JSON.parse(read("lossless.json")) as LosslessFile)));
});

test("times and memory are shares of the first form's; what was not measured has none", () => {
  const machine = { processor: "", processors: 1, threads: 1, node: "" };
  const passes = [
    { variant: "export", seconds: 2, megabytes: 1000 },
    { variant: "exact", seconds: 0.5, megabytes: 80 },
    { variant: "short", seconds: 1, megabytes: 3 },
    { variant: "large", seconds: null, megabytes: null },
  ];
  const tables = losslessTables({ machine, results: [{ title: "model", length: 4096, passes }] });
  expect(tables.split("\n").at(-1)).toBe(
    "| 4,096 | 2.00 s, 1000 MB | 500 ms (0.25), 80 MB, 1/12.5 | 1.00 s (0.50), under 10 MB | not measured |",
  );
});
