import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { beforeAll, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const names = ["trigonometric", "positive", "positive, calibrated", "landmark"];

let rows;
beforeAll(async () => {
  // as `npm run demo` does, with less of everything
  const { stdout } = await promisify(execFile)(process.execPath, ["examples/antibody/demo.js", "--quick"], {
    cwd: root,
  });
  rows = stdout.split("\n").map((line) => line.split(/ {2,}/));
}, 900_000);

/** The row of a model in the first table (conversion) or the second one (recovery), as cells. */
const row = (name, table) => rows.filter(([cell]) => cell === name)[table];
const accuracy = (cell) => Number(/^([\d.]+) %/.exec(cell)?.[1]);

it("compares four conversions with the original: calibrated and landmark features keep most, trigonometric ones little", () => {
  const original = accuracy(row("softmax (original)", 0)[1]);
  expect(original).toBeGreaterThan(65);
  const [trigonometric, positive, calibrated, landmark] = names.map((name) => accuracy(row(name, 0)[1]));
  expect(trigonometric).toBeLessThan(30);
  expect(positive).toBeGreaterThan(trigonometric);
  expect(calibrated).toBeGreaterThan(positive);
  expect(landmark).toBeGreaterThan(positive);
  expect(original).toBeGreaterThan(calibrated);
});

it("tunes every conversion from where it stood, in steps that the curve shows", async () => {
  const head = row("attention", 1);
  expect(head.slice(0, 7)).toEqual(["attention", "step 0", "step 1", "step 2", "step 3", "step 4", "before"]);
  for (const name of names) {
    const [, start, , , , last, before, end] = row(name, 1).map(accuracy);
    expect(before).toBe(accuracy(row(name, 0)[1]));
    expect(end).not.toBe(before);
    expect(last).not.toBe(start);
  }
});

it("tunes the softmax original alike, and draws everything into one page", async () => {
  expect(row("softmax (control)", 0)).toBeDefined();
  const page = await readFile(join(root, "out/antibody-quick/report.html"), "utf8");
  expect(page.match(/<svg/g)).toHaveLength(4);
  for (const name of [...names, "softmax (control)"]) expect(page).toContain(`<td>${name}</td>`);
});
