import type { ModelProto } from "@favor/onnx";

/** The model's version of the standard operators. */
export function opsetOf({ opsetImport }: ModelProto): number {
  return opsetImport.find(({ domain }) => domain === "" || domain === "ai.onnx")?.version.toNumber() ?? 0;
}
