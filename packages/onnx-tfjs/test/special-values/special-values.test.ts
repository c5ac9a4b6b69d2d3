import { fileURLToPath } from "node:url";
import { encodeModel } from "@favor/onnx";
import { evaluateNode } from "@favor/onnx/evaluate";
import { backends } from "@favor/test-support/backends";
import { bundle } from "@favor/test-support/bundle";
import { findChromium, runPage } from "@favor/test-support/chromium";
import { openSession } from "@favor/test-support/onnxruntime";
import { float32, node } from "@favor/test-support/nodes";
import * as tf from "@tensorflow/tfjs";
import { repairBackend } from "@favor/tfjs";
import { Tensor } from "onnxruntime-node";
import { beforeAll, describe, expect, it } from "vitest";
import { activationOperators } from "../../src/operators/activations.ts";
import { arithmeticOperators } from "../../src/operators/arithmetic.ts";
import { logicOperators } from "../../src/operators/logic.ts";
import { cases, modelOf, type Accuracy, type SpecialCase } from "./cases.ts";
import { bits, onTfjs, type Found } from "./run.ts";

const [smallest, largest] = [2 ** -126, (2 - 2 ** -23) * 2 ** 127];

/** Relative and absolute differences from onnxruntime on processors. Graphics devices compute sin, exp and log to 5e-4. */
const allowed: Readonly<Record<Accuracy, readonly [number, number]>> = {
  exact: [0, 0],
  rounded: [2e-7, 0],
  near: [1e-5, 1e-6],
  angle: [1e-5, 1e-6],
};
const allowedOnGraphics: typeof allowed = { ...allowed, rounded: [1e-6, 0], near: [5e-4, 5e-4], angle: [5e-4, 5e-4] };

async function onOnnxruntime(given: SpecialCase): Promise<Float32Array> {
  const session = await openSession(encodeModel(modelOf(given)));
  const feeds = given.inputs.map((values, i) => [
    `x${i}`,
    new Tensor("float32", Float32Array.from(values), [values.length]),
  ]);
  const { y } = await session.run(Object.fromEntries(feeds) as Record<string, Tensor>);
  return y!.data as Float32Array;
}

const isDenormal = (x: number): boolean => x !== 0 && Math.abs(x) < smallest;

function isNear(found: number, expected: number, [relative, absolute]: readonly [number, number]): boolean {
  if (Number.isNaN(expected)) return Number.isNaN(found);
  // Which zero comes of Max(0, -0), or of Relu(-0), ONNX does not say.
  if (found === expected) return true;
  const size = Math.abs(expected);
  if (!Number.isFinite(found)) return size > (1 - relative) * largest && found * expected > 0 && relative > 0;
  return Math.abs(found - expected) <= relative * size + absolute;
}

const shown = (x: number): string => (Object.is(x, -0) ? "-0" : String(x));

/** The elements that differ from onnxruntime's. Graphics devices may take denormals for 0. */
function faults(given: SpecialCase, found: Float32Array, expected: Float32Array, onGraphics: boolean): string[] {
  const limits = (onGraphics ? allowedOnGraphics : allowed)[given.accuracy];
  expect(found.length).toBe(expected.length);
  return Array.from(expected).flatMap((value, i) => {
    const at = given.inputs.map((values) => values[i]!);
    if (onGraphics && [value, ...at].some(isDenormal)) return [];
    if (given.accuracy === "angle" && Math.abs(at[0]!) > 1e4 && Number.isFinite(at[0]!)) return [];
    if (isNear(found[i]!, value, limits)) return [];
    return [`(${at.map(shown).join(", ")}) gives ${shown(found[i]!)}, not ${shown(value)}`];
  });
}

const named = cases.map((given) => [given.name, given] as const);

describe.each(backends)("on %s, special values give what onnxruntime gives", (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    repairBackend();
  });

  it.each(named)("%s", async (_, given) => {
    expect(faults(given, await onTfjs(given), await onOnnxruntime(given), false)).toEqual([]);
  });
});

const chromium = findChromium();

describe.skipIf(!chromium)("in Chromium, special values give what onnxruntime gives (skipped: no chromium)", () => {
  let report: Record<string, Record<string, Found>>;
  beforeAll(async () => {
    const page = await bundle(fileURLToPath(new URL("page.ts", import.meta.url)));
    report = (await runPage(chromium!, page, false)) as typeof report;
  });

  describe.each(["webgl", "webgpu"])("on %s", (backend) => {
    it.each(named)("%s", async (name, given) => {
      const found = report[backend]![name];
      if (!Array.isArray(found)) throw new Error(found ?? `${String(report[backend]!["start"])}`);
      const values = new Float32Array(Uint32Array.from(found).buffer);
      expect(faults(given, values, await onOnnxruntime(given), true)).toEqual([]);
    });
  });
});

it("every operator that computes element by element is here", () => {
  const tables = { ...activationOperators, ...arithmeticOperators, ...logicOperators };
  const listed = new Set(cases.map(({ op }) => op));
  expect(Object.keys(tables).filter((name) => !listed.has(name))).toEqual(["Dropout"]);
});

describe("where onnxruntime departs from the standard, we do not", () => {
  const departures = [
    // exp(x) - 1 in float32
    { op: "Elu", x: -(2 ** -27), right: -(2 ** -27), theirs: 0 },
    { op: "Selu", x: -(2 ** -27), right: 1.0507009873554805 * 1.6732632423543772 * Math.expm1(-(2 ** -27)), theirs: 0 },
    { op: "Celu", x: -(2 ** -27), right: -(2 ** -27), theirs: 0 },
    // a rational approximation within [-18, 18]
    { op: "Sigmoid", x: -20, right: 1 / (1 + Math.exp(20)), theirs: 0 },
  ];
  it.each(departures)("$op($x)", async ({ op, x, right, theirs }) => {
    await tf.setBackend("cpu");
    const given = { ...cases.find((each) => each.op === op)!, attributes: {}, inputs: [[x]] };
    expect((await onOnnxruntime(given))[0]).toBe(theirs);
    expect(Math.abs((await onTfjs(given))[0]! / right - 1)).toBeLessThan(1e-6);
    const [host] = evaluateNode(node(op, ["x"], ["y"]), [float32([1], [x])], { opsets: new Map([["", 21]]) });
    expect(Math.abs(host!.data[0]! / right - 1)).toBeLessThan(1e-6);
  });
});

it("results travel as bits", () => {
  expect(bits(Float32Array.of(1, -0, Infinity))).toEqual([0x3f800000, 0x80000000, 0x7f800000]);
});
