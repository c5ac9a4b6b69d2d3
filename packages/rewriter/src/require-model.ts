import { ArgumentError } from "@favor/core";
import type { ModelProto } from "@favor/onnx";

/** Plain JavaScript may hand over a file's bytes or its path. */
export function requireModel(model: ModelProto): void {
  const given: unknown = model;
  if (typeof given === "object" && given !== null && "graph" in given) return;
  const found = given instanceof Uint8Array ? "bytes" : given;
  const expected = "a model, as decodeModel makes it of bytes, or openModel of @favor/onnx/node of a file";
  throw new ArgumentError("model", expected, found);
}
