import { ArgumentError } from "@favor/core";
import { DataType, encodeModel } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, it } from "vitest";

import { FeedError, OnnxModel } from "../src/index.ts";
import { info, model, node } from "./graphs.ts";

const doubled = model({
  inputs: [info("x", DataType.FLOAT, ["n"])],
  outputs: [info("y", DataType.FLOAT, ["n"])],
  initializers: [],
  nodes: [node("Add", ["x", "x"], ["y"])],
});

beforeAll(() => tf.setBackend("cpu"));

// What TypeScript refuses, plain JavaScript may do.
it.each(["model.onnx", undefined, {}])("%j is no source of a model", async (source) => {
  const load = OnnxModel.load(source as never);
  await expect(load).rejects.toBeInstanceOf(ArgumentError);
  await expect(load).rejects.toThrow(/source: expected the bytes of an ONNX file, or a model/);
});

it.each([
  ["a text", '"a text"'],
  [[1, 2], "an object without them"],
  [undefined, "undefined"],
  [null, "null"],
])("%j is no feed", async (feed, found) => {
  const loaded = await OnnxModel.load(encodeModel(doubled));
  const run = (): unknown => loaded.run({ x: feed as never });
  expect(run).toThrow(FeedError);
  expect(run).toThrow(`Feed "x": expected a tensor, or { dims, data }, found ${found}.`);
  loaded.dispose();
});
