import { ArgumentError } from "@favor/core";
import type { ModelProto } from "@favor/onnx";

/** Plain JavaScript may pass the bytes or the path of a file. */
export function requireModel(model: ModelProto): void {
  const given: unknown = model;
  if (typeof given === "object" && given !== null && "graph" in given) return;
  const found = given instanceof Uint8Array ? "bytes" : given;
  const expected = "a model, from decodeModel (bytes) or from openModel of @favor/onnx/node (a file)";
  throw new ArgumentError("model", expected, found);
}
