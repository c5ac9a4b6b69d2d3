import { expect, it } from "vitest";

import { ArgumentError, createFeatureMap, favorAttention, favorCausalAttention } from "../src/index.ts";

const rows = new Float64Array(8);

// What TypeScript refuses, plain JavaScript may do.
it.each([undefined, null, {}, { featureMap: { kind: "positive" } }, { featureMap: "positive" }])(
  "attention with the options %j asks for a feature map",
  (options) => {
    for (const attention of [favorAttention, favorCausalAttention]) {
      const call = (): unknown => attention(rows, rows, rows, options as never);
      expect(call).toThrow(ArgumentError);
      expect(call).toThrow(/^options\.featureMap: expected a feature map, as createFeatureMap makes it, found /);
    }
  },
);

it("a misspelt kind of feature map: the kinds there are", () => {
  const projection = { kind: "orthogonal", count: 8, dim: 4, seed: 0 } as const;
  const make = (): unknown => createFeatureMap({ version: 1, kind: "positve", projection } as never);
  expect(make).toThrow(ArgumentError);
  expect(make).toThrow(/one of trigonometric, positive, .*squared-relu, found "positve"/);
  expect(() => createFeatureMap({ version: 1, kind: "toString", projection } as never)).toThrow(/one of trigonometric/);
});

it.each([undefined, null, "positive"])("%j is no description", (description) => {
  expect(() => createFeatureMap(description as never)).toThrow(ArgumentError);
});
