import { ArgumentError } from "@favor/core";
import { util } from "protobufjs/minimal.js";
import { ModelFormatError, OnnxError } from "./errors.ts";
import { Budget } from "./limits.ts";
import type { DecodeLimits } from "./limits.ts";
import type { ByteRange } from "./byte-range.ts";
import { checkModel } from "./check.ts";
import { presentFields, unknownFields } from "./proto.ts";
import type { ModelProto, TensorProto } from "./proto.ts";
import { emptyMessage, isRepeated, messageType } from "./schema.ts";
import type { Field, MessageFields, Messages, MessageType } from "./schema.ts";
import { refuseOtherFormats } from "./other-formats.ts";
import { WireReader } from "./wire-reader.ts";

/** When a model is read from a range, tensor values of this many bytes or more stay where they are. */
const lazyFrom = 1024;

/**
 * Reads a model. From bytes in memory, `rawData` and all other bytes are views of them. From a range (a file), tensor
 * values of 1 KiB or more are not read: `source` says where they are.
 *
 * Throws ModelFormatError: "empty-file", "git-lfs-pointer", "html-page", "json-page", "other-format" (not a model),
 * "truncated", "malformed", "unsupported-version", "limit-exceeded"; TensorError if the length of a tensor's data does
 * not fit its shape and type; ArgumentError for a path, and for anything else that is not bytes.
 */
export function decodeModel(bytes: Uint8Array | ByteRange, limits: Partial<DecodeLimits> = {}): ModelProto {
  checkBytes(bytes);
  const reader = new WireReader(bytes);
  refuseOtherFormats(reader);
  const model = decode("ModelProto", reader, limits);
  checkModel(model);
  return model;
}

/**
 * Reads one message of any type (a TensorProto of a `.pb` file, say), without the checks of {@link checkModel}.
 * Throws ModelFormatError "truncated", "malformed", "limit-exceeded".
 */
export function decodeMessage<Name extends keyof Messages>(
  name: Name,
  bytes: Uint8Array | ByteRange,
  limits: Partial<DecodeLimits> = {},
): Messages[Name] {
  checkBytes(bytes);
  return decode(name, new WireReader(bytes), limits);
}

/** Plain JavaScript may pass anything; a path is what most would try first. */
function checkBytes(bytes: unknown): void {
  if (bytes instanceof Uint8Array) return;
  if (typeof bytes === "object" && bytes !== null && "readInto" in bytes && "length" in bytes) return;
  const how =
    typeof bytes === "string"
      ? "not a path (to open a file in Node, call openModel of @favor/onnx/node, or pass await readFile(path))"
      : "in a Uint8Array (of an ArrayBuffer, pass new Uint8Array(buffer))";
  throw new ArgumentError("bytes", `the bytes of a model, ${how}`, bytes);
}

function decode<Name extends keyof Messages>(
  name: Name,
  reader: WireReader,
  limits: Partial<DecodeLimits>,
): Messages[Name] {
  const budget = new Budget(limits);
  budget.check("maxBytes", reader.length, 0);
  const type = messageType(name);
  const message = emptyMessage(type);
  try {
    new Decoder(reader, budget).message(message, type, reader.length, 1);
  } catch (error) {
    if (error instanceof OnnxError) throw error;
    throw unreadable(reader, error);
  }
  return message as object as Messages[Name];
}

/** protobufjs throws RangeError at the end of the bytes, and Error for bytes that it cannot interpret. */
function unreadable(reader: WireReader, cause: unknown): OnnxError {
  const at = reader.position;
  if (cause instanceof RangeError && cause.message.startsWith("index out of range")) {
    return new ModelFormatError(
      "truncated",
      `The file ends at byte ${reader.length}, in the middle of a field. ` +
        "The download or the export was cut off. Download or export it again.",
      at,
      cause,
    );
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  return malformed(`${reason}, near byte ${at}`, at, cause);
}

function malformed(found: string, at: number, cause?: unknown): OnnxError {
  return new ModelFormatError(
    "malformed",
    `This is not an ONNX model, or it is damaged: ${found}. Download or export it again.`,
    at,
    cause,
  );
}

class Decoder {
  readonly #reader: WireReader;
  readonly #budget: Budget;

  constructor(reader: WireReader, budget: Budget) {
    this.#reader = reader;
    this.#budget = budget;
  }

  /** Reads fields into `target` up to byte `end`. If a message occurs twice, both are merged, as protobuf defines. */
  message(target: MessageFields, type: MessageType, end: number, depth: number): void {
    const reader = this.#reader;
    this.#budget.check("maxDepth", depth, reader.position);
    this.#budget.objects(1, reader.position);
    target[presentFields] ??= 0;
    while (reader.position < end) {
      const start = reader.position;
      const tag = reader.ahead().tag();
      const wireType = tag & 7;
      const field = type.byNumber.get(tag >>> 3);
      if (field === undefined) {
        this.#unknown(target, type, tag, start, end);
      } else if (field.type === "message") {
        this.#expect(field, type, wireType, start);
        const length = reader.lengthPrefix(end);
        const child = this.#childOf(target, type, field);
        this.message(child, field.message!, reader.position + length, depth + 1);
      } else if (wireType === 2 && isRepeated(field) && field.wireType !== 2) {
        this.#packed(target, type, field, end);
      } else {
        this.#expect(field, type, wireType, start);
        this.#single(target, type, field, end);
      }
    }
    if (reader.position !== end) {
      throw malformed(`a field of ${type.name} runs past its end at byte ${end}`, reader.position);
    }
  }

  #expect(field: Field, type: MessageType, wireType: number, at: number): void {
    if (wireType === field.wireType) return;
    throw malformed(
      `${type.name}.${field.name} at byte ${at} has wire type ${wireType} instead of ${field.wireType}`,
      at,
    );
  }

  #childOf(target: MessageFields, type: MessageType, field: Field): MessageFields {
    if (isRepeated(field)) {
      const child = emptyMessage(field.message!);
      (target[field.name] as MessageFields[]).push(child);
      return child;
    }
    const present = target[field.name] as MessageFields | null | undefined;
    if (present) return present;
    if (field.rule === "oneof") clearOneof(target, type);
    const child = emptyMessage(field.message!);
    target[field.name] = child;
    return child;
  }

  #single(target: MessageFields, type: MessageType, field: Field, end: number): void {
    if (field.name === "rawData" && this.#leaveInFile(target, "rawData", end)) return;
    const value = this.#scalar(field, end);
    if (isRepeated(field)) {
      (target[field.name] as unknown[]).push(value);
      if (field.rule === "packed") target[presentFields]! |= 1 << field.bit;
      return;
    }
    if (field.rule === "oneof") clearOneof(target, type);
    target[field.name] = value;
    target[presentFields]! |= 1 << field.bit;
  }

  #scalar(field: Field, end: number): unknown {
    const reader = this.#reader;
    const at = reader.position;
    switch (field.type) {
      case "string":
      case "bytes": {
        const length = reader.lengthPrefix(end);
        if (field.name !== "rawData") this.#budget.check("maxFieldBytes", length, at);
        this.#budget.objects(1, at);
        const bytes = reader.bytes(length);
        return field.type === "bytes" ? bytes : text(bytes, field, at);
      }
      case "float":
        this.#budget.numbers(1, at);
        return reader.ahead().float();
      case "double":
        this.#budget.numbers(1, at);
        return reader.ahead().double();
      case "int32":
        this.#budget.numbers(1, at);
        return reader.ahead().int32();
      default:
        this.#budget.objects(1, at);
        return reader.int64(field.type === "uint64");
    }
  }

  /** Reads packed elements: one length, then all elements. Protobuf allows this for every repeated number. */
  #packed(target: MessageFields, type: MessageType, field: Field, end: number): void {
    const reader = this.#reader;
    const at = reader.position;
    if (type.name === "TensorProto" && (field.name === "floatData" || field.name === "doubleData")) {
      if ((target[field.name] as number[]).length === 0 && this.#leaveInFile(target, field.name, end)) return;
    }
    const length = reader.lengthPrefix(end);
    this.#budget.check("maxFieldBytes", length, at);
    const stop = reader.position + length;
    if (field.rule !== "packed") target[presentFields]! |= 1 << field.bit;
    reader.ahead(length);
    const values = target[field.name] as unknown[];
    while (reader.position < stop) values.push(this.#scalar(field, stop));
    if (reader.position !== stop) {
      throw malformed(`the elements of ${type.name}.${field.name} run past byte ${stop}`, at);
    }
  }

  /** Records where the values of a tensor are instead of reading them. False if they are few, or in memory. */
  #leaveInFile(target: MessageFields, field: "rawData" | "floatData" | "doubleData", end: number): boolean {
    const tensor = target as object as TensorProto;
    const start = this.#reader.position;
    const length = this.#reader.lengthPrefix(end);
    const range = length >= lazyFrom ? this.#reader.range(length) : undefined;
    if (range === undefined) {
      this.#reader.seek(start);
      return false;
    }
    if (tensor.source !== undefined) {
      throw malformed(`tensor ${JSON.stringify(tensor.name)} has its values twice, the second at byte ${start}`, start);
    }
    tensor.source = { field, range };
    return true;
  }

  #unknown(target: MessageFields, type: MessageType, tag: number, start: number, end: number): void {
    const reader = this.#reader;
    if (tag >>> 3 === 0) throw malformed(`field number 0 in ${type.name} at byte ${start}`, start);
    this.#budget.objects(1, start);
    switch (tag & 7) {
      case 0:
        reader.int64(true);
        break;
      case 1:
        reader.ahead().skip(8);
        break;
      case 2: {
        const length = reader.lengthPrefix(end);
        this.#budget.check("maxFieldBytes", length, start);
        reader.ahead(length).skip(length);
        break;
      }
      case 5:
        reader.ahead().skip(4);
        break;
      default:
        // 3 and 4 are groups, which ONNX has never had; 6 and 7 do not exist.
        throw malformed(`wire type ${tag & 7} in ${type.name} at byte ${start}`, start);
    }
    (target[unknownFields] ??= []).push(reader.since(start));
  }
}

/** If several members of a oneof are in the file, the last one counts. No message of ONNX has two oneofs. */
function clearOneof(target: MessageFields, type: MessageType): void {
  for (const field of type.fields) if (field.rule === "oneof") delete target[field.name];
}

function text(bytes: Uint8Array, field: Field, at: number): string {
  try {
    return util.utf8.readStrict(bytes, 0, bytes.length);
  } catch (cause) {
    throw malformed(`${field.name} at byte ${at} is not UTF-8`, at, cause);
  }
}
