import { join } from "node:path";

import { convertAttention } from "@favor/rewriter";
import type { ConvertOptions } from "@favor/rewriter";
import type { ModelProto } from "@favor/onnx";
import { openModel } from "@favor/onnx/node";
import { afterEach } from "vitest";

import { tiny } from "@favor/test-support/antibody";
import { sharedZoo } from "@favor/test-support/zoo/folder";

/** The embedded checkpoint's graph. */
export const tinyModel: string = join(tiny, "onnx", "model.onnx");

export function zooModel(name: string): string {
  return sharedZoo.path(`${name}.onnx`);
}

const opened: { close(): void }[] = [];

afterEach(() => {
  for (const model of opened.splice(0)) model.close();
});

/** A model whose weights stay in its file until the end of the test. */
export async function open(path: string): Promise<ModelProto> {
  const model = await openModel(path);
  opened.push(model);
  return model.model;
}

/** A model and its conversion. */
export async function pair(
  path: string,
  options: ConvertOptions,
): Promise<{ original: ModelProto; converted: ModelProto }> {
  return { original: await open(path), converted: convertAttention(await open(path), options).model };
}
