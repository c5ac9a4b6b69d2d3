// Type tests: `npm run types` checks this file, nothing runs it.
import { expectTypeOf, test } from "vitest";

import { buildModel, readSafetensors } from "../src/index.ts";
import type { BuiltModel, CheckpointError, CheckpointErrorCode, CheckpointTask, StateDict } from "../src/index.ts";
import { chooseFile, openSourceModel, withOnnxFile } from "../src/node.ts";
import type { FileChoice, NoFile, OpenedSource, Source } from "../src/node.ts";

declare const weights: StateDict;
declare const source: Source;
declare const task: CheckpointTask;

test("a model is built of an unchecked configuration", () => {
  expectTypeOf(buildModel({ model_type: "bert" }, weights, { task })).toEqualTypeOf<BuiltModel>();
  // @ts-expect-error: no such task
  buildModel({}, weights, { task: "chat" });
});

test("readers give a state dictionary", () => {
  expectTypeOf(readSafetensors).returns.toEqualTypeOf<StateDict>();
});

test("choosing a file gives the file, or why there is none", () => {
  expectTypeOf(chooseFile(["model.onnx"])).toEqualTypeOf<FileChoice | NoFile>();
});

test("an opened source is of its action's type", () => {
  expectTypeOf(openSourceModel(source)).resolves.toEqualTypeOf<OpenedSource>();
  expectTypeOf(withOnnxFile(source, async (path) => path.length)).resolves.toEqualTypeOf<number>();
});

test("errors have codes of a union", () => {
  expectTypeOf<CheckpointError["code"]>().toEqualTypeOf<CheckpointErrorCode>();
});
