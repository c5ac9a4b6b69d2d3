import { DataType } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs-core";
import type { Operator, OperatorCall, OperatorTable } from "../operator-call.ts";
import { isDevice, isFloatType, type Value } from "../value.ts";

/**
 * A device value as another ONNX type. All floating-point types are float32 on the device, where nothing is rounded to
 * half precision; integers live on the host, so a cast to one reads the value back.
 */
function castTo(call: OperatorCall, to: number): Value {
  const source = call.device(0);
  if (isFloatType(to)) return source.dtype === "float32" ? source : tf.cast(source, "float32");
  // Not tf.cast: on wasm it truncates, so that .5 would be false.
  if (to === DataType.BOOL) return source.dtype === "bool" ? source : tf.notEqual(source, 0);
  return call.evaluateOnHost()[0]!;
}

const cast: Operator = (call) => [castTo(call, call.int("to") ?? call.fail("attribute to is required"))];

const castLike: Operator = (call) => {
  const like = call.input(1);
  if (!isDevice(like)) return [castTo(call, like.dataType)];
  return [castTo(call, like.dtype === "bool" ? DataType.BOOL : DataType.FLOAT)];
};

/** Conversions between data types. */
export const castingOperators: OperatorTable = { Cast: cast, CastLike: castLike };
