import { expect, it, vi } from "vitest";
import { count, randomIntegers, sequence, vocabularySize } from "../task.js";

it("answers follow from what came before, and are given nowhere else", () => {
  for (const length of [64, 300]) {
    const { tokens, before, labels } = sequence(length, randomIntegers(5));
    expect(tokens).toHaveLength(length);
    expect(Math.max(...tokens)).toBeLessThan(vocabularySize);
    expect(before.slice(1)).toEqual(tokens.slice(0, -1));
    const asked = labels.flatMap((label, i) => (label < 0 ? [] : [i]));
    expect(asked).toHaveLength(2 * count);
    for (const i of asked) {
      // the token stood once before, and what followed it is the answer
      const earlier = tokens.slice(0, i).flatMap((token, j) => (token === tokens[i] ? [j] : []));
      expect(earlier).toHaveLength(1);
      expect(tokens[earlier[0] + 1]).toBe(labels[i]);
      expect(tokens[i + 1]).toBe(labels[i]);
    }
  }
});

it("a causal Performer learns to copy and to recall, and so does softmax", async () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  process.argv.push("--quick");
  await import("../demo.js");
  const lines = log.mock.calls.map(([text]) => text);
  log.mockRestore();
  for (const name of ["FAVOR", "softmax"]) {
    const line = lines.find((text) => text.startsWith(name) && text.includes("copied"));
    const [, copied, recalled] = /copied +(\d+) %, recalled +(\d+) %/.exec(line);
    // by chance 1 of 32 and 1 of 16
    expect(Number(copied)).toBeGreaterThan(80);
    expect(Number(recalled)).toBeGreaterThan(80);
  }
});
