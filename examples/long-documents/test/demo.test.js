import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { beforeAll, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const demo = join(root, "examples/long-documents/demo.js");

let text;
let results;
beforeAll(() => {
  text = execFileSync(process.execPath, [demo, "--quick"], { cwd: root, encoding: "utf8", stdio: "pipe" });
  ({ results } = JSON.parse(readFileSync(join(root, "out/long-documents-quick/figures.json"), "utf8")));
}, 900_000);

it("prints a table for each length", () => {
  expect(text).toMatch(/^512 tokens \([\d,]+ masked tokens of \d+ windows\)$/m);
  expect(text).toMatch(/^1,024 tokens /m);
  for (const { models } of results) {
    expect(models.map(({ name }) => name)).toEqual([
      "softmax",
      "exact, linear memory",
      "exact, fused",
      "FAVOR alone, M = 16",
      "default conversion",
    ]);
  }
});

it("shows a model that reads, exact attention that loses nothing, exact keys that keep, and features alone that do not", () => {
  for (const { models } of results) {
    const [softmax, memory, fused, alone, usual] = models;
    expect(softmax.accuracy.value).toBeGreaterThan(0.5);
    for (const exact of [memory, fused]) {
      expect(exact.kept.value).toBeCloseTo(1, 2);
      expect(exact.perplexity.value / softmax.perplexity.value).toBeCloseTo(1, 3);
    }
    expect(alone.kept.value).toBeLessThan(0.6);
    expect(usual.kept.value).toBeGreaterThan(0.95);
    for (const { seconds, peakBytes } of models) {
      expect(seconds).toBeGreaterThan(0);
      expect(peakBytes).toBeGreaterThan(2e7);
    }
  }
});
