import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import { supportedOperators } from "../../src/index.ts";
import { backends } from "@favor/test-support/backends";
import type { GradientCase } from "./case.ts";
import { checkGradients } from "./check.ts";
import { elementwiseCases } from "./elementwise-cases.ts";
import { flatCases } from "./flat-cases.ts";
import { layerCases } from "./layer-cases.ts";
import { layoutCases } from "./layout-cases.ts";

/** Operators that read shapes, or values on the host alone. */
const onHost = ["EyeLike", "NonZero", "QLinearMatMul", "Range", "Shape", "Size"];

const cases = [...elementwiseCases, ...layoutCases, ...layerCases, ...flatCases];
const key = (op: string): string => (op.includes(":") ? op : `:${op}`);
const title = ({ op, form }: GradientCase): string => (form === undefined ? op : `${op}, ${form}`);

test("every operator is differentiated here, or has nothing to differentiate", () => {
  const listed = new Set([...cases.map(({ op }) => op), "MatMulInteger", ...onHost].map(key));
  expect([...listed].toSorted()).toEqual(supportedOperators());
});

describe.each(backends)("values and gradients on %s against the evaluator's differences", (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    repairBackend();
  });

  test.each(cases.map((given) => [title(given), given] as const))("%s", async (_, given) => {
    const { value, gradients, norms, leaked } = await checkGradients(given);
    expect(value).toBeLessThan(1e-4);
    expect(Math.max(...gradients)).toBeLessThan(1e-3);
    // A gradient of zero would say that the case differentiates nothing.
    expect(Math.min(...norms)).toBeGreaterThan(1e-3);
    expect(leaked).toBe(0);
  });
});
