import Long from "long";
import { checkModel } from "./check.ts";
import { encodeModel } from "./encode.ts";
import { presentFields } from "./proto.ts";
import type { ModelProto } from "./proto.ts";
import { emptyMessage, isRepeated, messageType } from "./schema.ts";
import type { Field, MessageFields, MessageType } from "./schema.ts";

/** The class `onnx.ModelProto` of the npm package onnx-proto, or of any protobufjs build of ONNX's schema. */
export interface OnnxProtoClass<T> {
  decode(bytes: Uint8Array): T;
}

/**
 * Makes a model of an `onnx.ModelProto` object of the npm package onnx-proto, or of a plain object of that form. Bytes
 * are shared, not copied.
 * Throws the errors of {@link checkModel}.
 */
export function fromOnnxProto(model: object): ModelProto {
  const result = fromProtobufjs(model as Record<string, unknown>, messageType("ModelProto")) as object as ModelProto;
  checkModel(result);
  return result;
}

function fromProtobufjs(object: Record<string, unknown>, type: MessageType): MessageFields {
  const message = emptyMessage(type);
  let present = 0;
  for (const field of type.fields) {
    // protobufjs keeps defaults in the prototype: own properties were in the file.
    const value = Object.hasOwn(object, field.name) ? object[field.name] : undefined;
    if (value === undefined || value === null) continue;
    if (isRepeated(field)) {
      message[field.name] = Array.from(value as ArrayLike<unknown>, (element) => fromValue(element, field));
    } else {
      message[field.name] = fromValue(value, field);
      present |= 1 << field.bit;
    }
  }
  message[presentFields] = present;
  return message;
}

function fromValue(value: unknown, field: Field): unknown {
  if (field.message !== undefined) return fromProtobufjs(value as Record<string, unknown>, field.message);
  if (field.type === "int64" || field.type === "uint64") {
    return Long.fromValue(value as Long | number | string, field.type === "uint64");
  }
  return value;
}

/**
 * Makes an `onnx.ModelProto` of the npm package onnx-proto: `toOnnxProto(model, onnx.ModelProto)`. That package
 * implements ONNX 1.10 and drops anything newer. Weights that are still in their file are read; all are copied once.
 */
export function toOnnxProto<T>(model: ModelProto, ModelProtoClass: OnnxProtoClass<T>): T {
  return ModelProtoClass.decode(encodeModel(model));
}
