import { errorOf, withUnknown, writtenObjects } from "@favor/test-support/unknown-options";
import { expect, it } from "vitest";

import * as calibration from "../src/calibration/index.ts";
import * as comparison from "../src/comparison/index.ts";
import * as root from "../src/index.ts";
import { FavorError } from "../src/index.ts";
import * as theory from "../src/theory/index.ts";
import { calls, made, samples } from "./calls.ts";

const exported = { ...root, ...calibration, ...comparison, ...theory };

it("the table has every public function", () => {
  const functions = Object.entries(exported).filter(([, value]) => typeof value === "function");
  const errors = ["ArgumentError", "FavorError"];
  expect(Object.keys(calls).toSorted()).toEqual(
    functions
      .map(([name]) => name)
      .filter((name) => !errors.includes(name))
      .toSorted(),
  );
});

it.each(Object.entries(calls))(
  "%s takes right arguments, and none that it would not read",
  (_name, [call, , given]) => {
    const anyCall = call as (...given: unknown[]) => unknown;
    anyCall(...given);
    for (const path of writtenObjects(given, made)) {
      const error = errorOf(() => anyCall(...(withUnknown(given, path) as unknown[])));
      expect({ path, error }).toMatchObject({ error: { code: "unknown-option", details: { option: "notAnOption" } } });
    }
  },
);

it("a feature map's stabilisers, too", () => {
  const { map, rows } = samples;
  expect(() => map.keyStabilized(rows, { scop: "row" } as never)).toThrow(
    "options.scop is not known here. Did you mean scope?",
  );
});

it.each([
  [{ casual: true }, /^options\.casual is not known here\. Did you mean causal\? Known are dim, .*, causal, slope\.$/],
  [{ key_mask: [1, 1] }, /Did you mean keyMask\?/],
  [{ KEYMASK: [1, 1] }, /Did you mean keyMask\?/],
  [{ chosenBlocks: 2 }, /^options\.chosenBlocks is not known here\. Known are/],
])("%j: the nearest name, if one is near", (options, message) => {
  const { rows } = samples;
  expect(() => root.exactAttention(rows, rows, rows, { dim: 4, ...options } as never)).toThrow(message);
});

it("favorAttention refuses causal and slope, and says which function has them", () => {
  const { map, rows } = samples;
  const attend = (options: object) => () =>
    root.favorAttention(rows, rows, rows, { featureMap: map, ...options } as never);
  expect(attend({ causal: true })).toThrow(FavorError);
  expect(attend({ causal: true })).toThrow("favorCausalAttention");
  expect(attend({ slope: 0.5 })).toThrow("favorAlibiAttention");
});
