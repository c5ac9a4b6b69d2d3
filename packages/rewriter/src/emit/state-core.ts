import { coreMatrix, type ExponentialForm } from "@favor/core";
import type { NodeBuilder } from "@favor/onnx/graph";
import type { LinearFeatures } from "./linear.ts";
import { stack } from "./trigonometric.ts";

/** Numbers below this are slow in many processors, and negligible next to the largest entry, which is 1. */
const leastNormal = 1.2e-38;

/** Log weights of features further apart than this would leave float32 as factors; then they go into the exponents. */
const widestFactor = 60;

/** Whether weights of features are too far apart to be factors. */
export function areWide(forms: readonly ExponentialForm[]): boolean {
  return forms.some(({ logWeight }) => spread(logWeight) > widestFactor);
}

function spread(values: Float64Array): number {
  let [least, largest] = [Infinity, -Infinity];
  for (const value of values) {
    least = Math.min(least, value);
    largest = Math.max(largest, value);
  }
  return largest - least;
}

/** C with the weights of features, and the log of what each head's was divided by. */
export interface StateCore extends Pick<LinearFeatures, "core"> {
  readonly logScales: readonly number[];
}

/**
 * diag(exp(logWeight)) C per head, relative to its largest weight, because the scale of a head cancels. If one head has a
 * core, heads without one get the identity.
 *
 * @param weighted whether the queries' exponents hold logWeight already
 */
export function stateCore(build: NodeBuilder, forms: readonly ExponentialForm[], weighted: boolean): StateCore {
  const { count } = forms[0]!;
  const heads = forms.length;
  const largestLogs = forms.map(({ logWeight }) =>
    weighted ? 0 : logWeight.reduce((a, b) => Math.max(a, b), -Infinity),
  );
  const factors = forms.map(({ logWeight }, h) =>
    logWeight.map((log) => (weighted ? 1 : Math.exp(log - largestLogs[h]!))),
  );
  if (forms.some((form) => form.core !== undefined)) {
    const cores = forms.map((form, h) => coreMatrix(form).map((c, i) => c * factors[h]![Math.floor(i / count)]!));
    const largest = cores.map((core) => core.reduce((a, b) => Math.max(a, b), 0) || 1);
    const relative = cores.map((core, h) => core.map((c) => (c / largest[h]! < leastNormal ? 0 : c / largest[h]!)));
    return {
      core: { value: build.floats("core", [heads, count, count], stack(relative)), kind: "matrix" },
      logScales: largestLogs.map((log, h) => log + Math.log(largest[h]!)),
    };
  }
  if (factors.every((factor) => factor.every((f) => f === 1))) return { logScales: largestLogs };
  const core = { value: build.floats("weight_state", [heads, count, 1], stack(factors)), kind: "factor" } as const;
  return { core, logScales: largestLogs };
}
