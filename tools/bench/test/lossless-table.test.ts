import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { browserTables, losslessTables, type LosslessFile } from "../src/lossless-table.ts";

const measurements = new URL("../../../docs/measurements/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, measurements), "utf8");

/** Without the widths of columns, which the formatter chooses. */
const cells = (text: string): string[] =>
  text.split("\n").map((line) => line.replace(/ *\| */g, "|").replace(/-+:/g, "-:"));

test("the page has the tables of what was measured", () => {
  const measured = JSON.parse(read("lossless.json")) as LosslessFile;
  const shown = (name: string) =>
    cells(new RegExp(`<!-- ${name} -->\n\n([\\s\\S]*)\n\n<!-- end of ${name} -->`).exec(read("lossless.md"))![1]!);
  expect(shown("tables")).toEqual(cells(losslessTables(measured)));
  expect(shown("browser tables")).toEqual(cells(browserTables(measured.browser!)));
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

const pass = (length: number) => ({ length, seconds: 0.5, megabytes: 700 });

test("in the browser, the table says which length failed, and nothing of longer ones", () => {
  const machine = { processor: "", browser: "", onnxruntimeWeb: "", threads: 1 };
  const results = [
    { title: "model", variant: "export", passes: [pass(1024), { length: 2048, failure: "bad_alloc" }] },
    { title: "model", variant: "exact", passes: [1024, 2048, 4096].map(pass) },
    { title: "model", variant: "slow", passes: [pass(1024)] },
  ];
  expect(browserTables({ machine, results }).split("\n").slice(-3)).toEqual([
    "| 1,024 | 500 ms, 700 MB | 500 ms, 700 MB | 500 ms, 700 MB |",
    "| 2,048 | fails | 500 ms, 700 MB | not tried |",
    "| 4,096 | - | 500 ms, 700 MB | not tried |",
  ]);
});
