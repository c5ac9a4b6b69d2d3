import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { beforeAll, describe, expect, test, vi } from "vitest";

import type { Advice, AdviceRow } from "../src/index.ts";
import type { SpeedAnswer, SpeedTask } from "../src/speed/speed-child.ts";
import { favorConvert } from "./favor-convert.ts";

/** Processes take seconds, and never as long twice: here, the name of a model's file says how long it takes. */
const timed: string[] = [];
vi.mock("../src/speed/run-child.ts", () => ({
  runChild: async ({ model, length }: SpeedTask): Promise<SpeedAnswer> => {
    const name = basename(model, ".onnx");
    timed.push(`${name} at ${length}`);
    // The fifth variant is the near field.
    const share = name === "5" ? 0.5 : name === "2" ? 0.25 : 1;
    return { seconds: share * length, processorSeconds: share * length, peakBytes: 1e6 * length };
  },
}));

const checkpoint = fileURLToPath(new URL("cases/one-score-output", import.meta.url));
const data = join(checkpoint, "data.txt");

async function adviceOn(...argv: string[]): Promise<Advice> {
  const { status, stdout, stderr } = await favorConvert("advise", checkpoint, ...argv, "--json", "--quiet");
  expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as Advice;
}

const rowOf = ({ rows }: Advice, name: string): AdviceRow => rows.find((row) => row.name === name)!;

describe("with data", () => {
  let advice: Advice;
  beforeAll(async () => {
    advice = await adviceOn("--data", data, "--lengths", "32,16");
  });

  test("every way is converted, measured, and timed in turns, the original first", () => {
    expect(advice.rows.map(({ name }) => name)).toEqual([
      "softmax, as it is",
      "exact by block",
      "exact, fused",
      "FAVOR, M = 32",
      "FAVOR, M = 64",
      "FAVOR, M = 128",
      "near field, M = 32",
      "near field, 8 chosen blocks, M = 32",
      "chosen by calibration",
    ]);
    expect(advice.lengths).toEqual([16, 32]);
    const turns = timed.filter((turn) => turn.endsWith("at 32")).slice(0, 9);
    expect(new Set(turns)).toHaveLength(9);
    expect(timed.filter((turn) => turn === turns[0])).toHaveLength(3);
    for (const { costs } of advice.rows) expect(costs.map((cost) => cost!.peakBytes)).toEqual([16e6, 32e6]);
  });

  test("more features lose less, and exact keys nothing where all keys are exact", () => {
    const losses = [32, 64, 128].map((count) => rowOf(advice, `FAVOR, M = ${count}`).loss!);
    expect(losses[0]).toBeGreaterThan(losses[2]!);
    expect(losses[2]).toBeGreaterThan(1);
    expect(rowOf(advice, "near field, M = 32").loss).toBeLessThan(0.01);
    expect(rowOf(advice, "exact by block")).toMatchObject({ isLossless: true });
  });

  test("sequences are calibrated on or measured on, not both", () => {
    const { calibration, evaluation } = advice.data!;
    expect(calibration.sequences + evaluation.sequences).toBe(60);
  });

  test("the fastest within the budget is recommended, not the fastest, with a command that makes it", async () => {
    expect(advice.recommendation!.name).toBe("near field, M = 32");
    expect(rowOf(advice, "FAVOR, M = 32").costs[1]!.seconds).toBeLessThan(
      rowOf(advice, "near field, M = 32").costs[1]!.seconds,
    );
    const [program, ...words] = advice.recommendation!.command!.split(" ");
    expect(program).toBe("favor-convert");
    const output = join(await temporaryFolder(), "made");
    const argv = words.map((word) => (word === "<folder>" ? output : word));
    const { status, stdout } = await favorConvert(...argv, "--json", "--quiet");
    expect(status).toBe(0);
    const { favor } = JSON.parse(stdout) as { favor: { options: object } };
    expect(favor.options).toMatchObject({ features: "landmark", window: 64, count: 32 });
  });

  test("it warns where data, and positions, end", () => {
    expect(advice.warnings.map(({ code }) => code)).toEqual(["break-even-beyond-positions", "quality-unknown-beyond"]);
  });

  test("nothing is left in the temporary folder", () => {
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith(`favor-advise-${process.pid}-`))).toEqual([]);
  });
});

test("without data, the quality of approximations is unknown, and none is recommended", async () => {
  const { status, stdout } = await favorConvert("advise", checkpoint, "--lengths", "32", "--quiet");
  expect(status).toBe(0);
  expect(stdout).toMatch(/FAVOR, M = 32 +│ not known/);
  expect(stdout).toMatch(/not known without data/);
  expect(stdout).toMatch(/Leave the model as it is.*"FAVOR, M = 32" would take 0\.25 of its time, but/s);
});

test("positions grow for longer inputs, with a warning", async () => {
  const { rows, warnings } = await adviceOn("--lengths", "128");
  expect(warnings.map(({ code }) => code)).toContain("positions-grown");
  expect(rows[1]!.command).toContain("--max-length 128");
});

test.each([
  [["--lengths", "0"], "--lengths takes lengths in tokens"],
  [["--column", "text"], "pass it with --data"],
])("advise %j is refused", async (argv, message) => {
  const { status, stderr } = await favorConvert("advise", checkpoint, ...argv);
  expect(status).toBe(2);
  expect(stderr).toContain(message);
});
