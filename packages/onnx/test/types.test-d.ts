// Type tests: `npm run types` checks this file, nothing runs it.
import { expectTypeOf, test } from "vitest";

import {
  createMessage,
  DataType,
  decodeMessage,
  encodeMessage,
  makeTensor,
  OnnxError,
  toOnnxProto,
} from "../src/index.ts";
import type { ModelProto, NodeProto, OnnxErrorCode, OnnxProtoClass, TensorProto } from "../src/index.ts";
import { decodeTensor, tensorOf } from "../src/evaluate/index.ts";
import type { Tensor } from "../src/evaluate/index.ts";
import { GraphError } from "../src/graph/index.ts";
import type { GraphErrorCode } from "../src/graph/index.ts";

declare const bytes: Uint8Array;
declare const model: ModelProto;
declare const other: OnnxProtoClass<{ readonly other: true }>;

test("a message has the type of its name", () => {
  expectTypeOf(createMessage("NodeProto", { opType: "MatMul" })).toEqualTypeOf<NodeProto>();
  expectTypeOf(decodeMessage("TensorProto", bytes)).toEqualTypeOf<TensorProto>();
  // @ts-expect-error: no such message
  createMessage("Node");
  // @ts-expect-error: a tensor has no operator
  createMessage("TensorProto", { opType: "MatMul" });
  // @ts-expect-error: a node is not a model
  encodeMessage("ModelProto", createMessage("NodeProto"));
});

test("a tensor is made of any array of numbers", () => {
  expectTypeOf(tensorOf(DataType.FLOAT, [2], [1, 2])).toEqualTypeOf<Tensor>();
  expectTypeOf(tensorOf(DataType.INT64, [2], Int32Array.of(1, 2))).toEqualTypeOf<Tensor>();
  // @ts-expect-error: 64-bit integers are doubles here
  tensorOf(DataType.INT64, [1], [1n]);
  expectTypeOf(makeTensor("x", [1], DataType.FLOAT, Float32Array.of(1))).toEqualTypeOf<TensorProto>();
  expectTypeOf(decodeTensor).parameters.toEqualTypeOf<[proto: TensorProto]>();
});

test("a model becomes an object of the class that is given", () => {
  expectTypeOf(toOnnxProto(model, other)).toEqualTypeOf<{ readonly other: true }>();
});

test("errors have codes of a union", () => {
  expectTypeOf<OnnxError["code"]>().toEqualTypeOf<OnnxErrorCode>();
  expectTypeOf<GraphError["code"]>().toEqualTypeOf<GraphErrorCode>();
});
