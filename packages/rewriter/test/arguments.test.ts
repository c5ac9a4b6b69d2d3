import { ArgumentError } from "@favor/core";
import { expect, it } from "vitest";

import { convertAttention, inspectAttention } from "../src/model-attention.ts";

// What TypeScript refuses, plain JavaScript may do.
it.each([
  [Uint8Array.of(8, 7), '"bytes"'],
  ["model.onnx", '"model.onnx"'],
  [undefined, "undefined"],
])("%j is no model: what is wanted is said", (given, found) => {
  for (const action of [convertAttention, inspectAttention]) {
    const call = (): unknown => action(given as never);
    expect(call).toThrow(ArgumentError);
    expect(call).toThrow(
      `model: expected a model, as decodeModel makes it of bytes, or openModel of @favor/onnx/node of a file, found ${found}.`,
    );
  }
});
