import type Long from "long";
import { Writer } from "protobufjs/minimal.js";
import { readRange } from "./byte-range.ts";
import type { ByteRange } from "./byte-range.ts";
import { ModelFormatError } from "./errors.ts";
import { AttributeType, presentFields, unknownFields } from "./proto.ts";
import type { ModelProto, TensorProto } from "./proto.ts";
import { isRepeated, messageType } from "./schema.ts";
import type { Field, MessageFields, Messages, MessageType } from "./schema.ts";

/** Byte fields of this length or more become a piece of their own instead of being copied. */
const pieceFrom = 4096;
/** How much of a range is read at a time, in bytes. */
const chunkLength = 1 << 20;
/** Protobuf libraries do not read messages of 2 GiB or more. */
const longestMessage = 2 ** 31 - 1;

export interface EncodeOptions {
  /** Called with every tensor. Its result is written instead of the tensor. */
  readonly tensor?: (tensor: TensorProto) => TensorProto;
}

/**
 * The bytes of a model. A model read by {@link decodeModel} gives the very bytes it was read from if their writer
 * sorted fields by number, as protobuf's own libraries do.
 * Throws ModelFormatError "limit-exceeded" at 2 GiB, and any error of reading a range.
 */
export function encodeModel(model: ModelProto): Uint8Array {
  return encodeMessage("ModelProto", model);
}

/** The bytes of a model, piece by piece. Weights are not copied, and weights in a file are not held in memory. */
export function* encodeModelPieces(model: ModelProto): Iterable<Uint8Array> {
  for (const part of encodeModelParts(model)) {
    if (part instanceof Uint8Array) {
      yield part;
      continue;
    }
    for (let offset = 0; offset < part.length; offset += chunkLength) {
      yield readRange(part, offset, Math.min(chunkLength, part.length - offset));
    }
  }
}

/** The bytes of one message of any type. Throws as {@link encodeModel}. */
export function encodeMessage<Name extends keyof Messages>(name: Name, message: Messages[Name]): Uint8Array {
  return joined(encodeParts(name, message, {}));
}

/** Like {@link encodeModelPieces}, but weights that are still in their file are given as ranges. */
export function encodeModelParts(model: ModelProto, options: EncodeOptions = {}): (Uint8Array | ByteRange)[] {
  return encodeParts("ModelProto", model, options);
}

function encodeParts<Name extends keyof Messages>(
  name: Name,
  message: Messages[Name],
  options: EncodeOptions,
): (Uint8Array | ByteRange)[] {
  const encoder = new Encoder(options);
  encoder.message(message as object as MessageFields, messageType(name));
  const { parts, length } = encoder.finish();
  checkLength("message", length);
  return parts;
}

function joined(parts: readonly (Uint8Array | ByteRange)[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    if (part instanceof Uint8Array) bytes.set(part, offset);
    else part.readInto(bytes.subarray(offset, offset + part.length), 0);
    offset += part.length;
  }
  return bytes;
}

/** The output so far: bytes to copy, and pieces that stay where they are. */
interface Encoded {
  readonly parts: (Uint8Array | ByteRange)[];
  readonly length: number;
}

/** The scalar field that a value of `AttributeProto.type` stands for. */
const attributeValue: Readonly<Record<number, string>> = {
  [AttributeType.FLOAT]: "f",
  [AttributeType.INT]: "i",
  [AttributeType.STRING]: "s",
};

class Encoder {
  readonly #options: EncodeOptions;
  readonly #parts: (Uint8Array | ByteRange)[] = [];
  #length = 0;
  #writer = new Writer();

  constructor(options: EncodeOptions) {
    this.#options = options;
  }

  finish(): Encoded {
    this.#flush();
    return { parts: this.#parts, length: this.#length };
  }

  message(message: MessageFields, type: MessageType): void {
    const unknown = unknownInOrder(message);
    let next = 0;
    for (const field of type.fields) {
      // Unknown fields go back to the place that their field number gives them.
      while (next < unknown.length && unknown[next]!.number < field.number) this.#append(unknown[next++]!.bytes);
      this.#field(message, type, field);
    }
    while (next < unknown.length) this.#append(unknown[next++]!.bytes);
  }

  #field(message: MessageFields, type: MessageType, field: Field): void {
    const value = message[field.name];
    if (isRepeated(field)) {
      if (type.name === "TensorProto" && this.#source(message, field)) return;
      const values = (value ?? []) as unknown[];
      const otherForm = wasPresent(message, field) === true;
      if (field.wireType !== 2 && (field.rule === "packed") !== otherForm) this.#packed(field, values);
      else for (const element of values) this.#element(field, element);
    } else if (!this.#source(message, field) && isPresent(message, type, field, value)) {
      this.#element(field, value);
    }
  }

  /** Writes the field if its bytes are still in a file; otherwise returns false. */
  #source(message: MessageFields, field: Field): boolean {
    const { source } = message as Partial<TensorProto>;
    // External data stays where it is: the field names the place, and the range is only a way to read it.
    if (source === undefined || source.field !== field.name || source.field === "externalData") return false;
    this.#delimited(field, source.range);
    return true;
  }

  #element(field: Field, value: unknown): void {
    if (field.message !== undefined) {
      const replaced = field.message.name === "TensorProto" ? this.#options.tensor?.(value as TensorProto) : undefined;
      const encoder = new Encoder(this.#options);
      encoder.message((replaced ?? value) as object as MessageFields, field.message);
      const { parts, length } = encoder.finish();
      this.#header(field, length);
      for (const part of parts) this.#append(part);
    } else if (field.type === "bytes") {
      this.#delimited(field, value as Uint8Array);
    } else {
      this.#writer.uint32((field.number << 3) | field.wireType);
      writeScalar(this.#writer, field, value);
    }
  }

  #packed(field: Field, values: readonly unknown[]): void {
    if (values.length === 0) return;
    const writer = new Writer();
    for (const value of values) writeScalar(writer, field, value);
    this.#delimited(field, writer.finish());
  }

  #delimited(field: Field, bytes: Uint8Array | ByteRange): void {
    this.#header(field, bytes.length);
    this.#append(bytes);
  }

  #header(field: Field, length: number): void {
    checkLength(field.name, length);
    this.#writer.uint32((field.number << 3) | 2).uint32(length);
  }

  #append(part: Uint8Array | ByteRange): void {
    if (part instanceof Uint8Array && part.length < pieceFrom) {
      this.#writer.raw(part);
      return;
    }
    this.#flush();
    this.#parts.push(part);
    this.#length += part.length;
  }

  #flush(): void {
    const bytes = this.#writer.finish();
    if (bytes.length > 0) this.#parts.push(bytes);
    this.#length += bytes.length;
    this.#writer = new Writer();
  }
}

function checkLength(what: string, length: number): void {
  if (length <= longestMessage) return;
  throw new ModelFormatError(
    "limit-exceeded",
    `The ${what} takes ${length} bytes, but protobuf allows at most 2 GiB. ` +
      "Write the weights as external data (`writeModel` with `externalData`).",
    0,
  );
}

/**
 * Whether a field that is not repeated is written. Messages and members of a oneof are written if present. Scalars are
 * written if they differ from the default, or if the file carried them. In a new attribute, the field that `type` names
 * is always written, because ONNX distinguishes `i = 0` from no `i`.
 */
function isPresent(message: MessageFields, type: MessageType, field: Field, value: unknown): boolean {
  if (value === undefined || value === null) return false;
  if (field.type === "message" || field.rule === "oneof") return true;
  const present = wasPresent(message, field);
  if (present === true || !isDefault(value)) return true;
  return (
    present === undefined && type.name === "AttributeProto" && attributeValue[message["type"] as number] === field.name
  );
}

/** Whether the file carried the field (`presentFields`); undefined for a message that was not read from a file. */
function wasPresent(message: MessageFields, field: Field): boolean | undefined {
  const present = message[presentFields];
  return present === undefined ? undefined : (present & (1 << field.bit)) !== 0;
}

function isDefault(value: unknown): boolean {
  if (typeof value === "number") return Object.is(value, 0);
  if (typeof value === "string" || value instanceof Uint8Array) return value.length === 0;
  return (value as Long).isZero();
}

function writeScalar(writer: Writer, field: Field, value: unknown): void {
  switch (field.type) {
    case "string":
      writer.string(value as string);
      break;
    case "float":
      writer.float(value as number);
      break;
    case "double":
      writer.double(value as number);
      break;
    case "int32":
      writer.int32(value as number);
      break;
    case "uint64":
      writer.uint64(value as Long);
      break;
    default:
      writer.int64(value as Long);
  }
}

/** The unknown fields of a message, sorted by number; fields of one number keep the order of the file. */
function unknownInOrder(message: MessageFields): { number: number; bytes: Uint8Array }[] {
  const fields = message[unknownFields] ?? [];
  return fields.map((bytes) => ({ number: fieldNumber(bytes), bytes })).toSorted((a, b) => a.number - b.number);
}

function fieldNumber(bytes: Uint8Array): number {
  let tag = 0;
  for (let index = 0, shift = 0; index < 5; index++, shift += 7) {
    const byte = bytes[index]!;
    tag += (byte & 127) * 2 ** shift;
    if (byte < 128) break;
  }
  return Math.floor(tag / 8);
}
