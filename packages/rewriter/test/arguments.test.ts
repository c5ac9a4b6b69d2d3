import { ArgumentError } from "@favor/core";
import { expect, it } from "vitest";

import { convertAttention, inspectAttention } from "../src/model-attention.ts";

// What TypeScript refuses, plain JavaScript may do.
it.each([
  [Uint8Array.of(8, 7), '"bytes"'],
  ["model.onnx", '"model.onnx"'],
  [undefined, "undefined"],
])("%j is not a model: the error says what is expected", (given, found) => {
  for (const action of [convertAttention, inspectAttention]) {
    const call = (): unknown => action(given as never);
    expect(call).toThrow(ArgumentError);
    expect(call).toThrow(
      `model: expected a model, from decodeModel (bytes) or from openModel of @favor/onnx/node (a file), found ${found}.`,
    );
  }
});
