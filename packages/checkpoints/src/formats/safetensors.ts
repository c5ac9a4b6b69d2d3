import { readRange, subRange } from "@favor/onnx";
import type { ByteRange } from "@favor/onnx";
import { elementType } from "@favor/onnx";
import { DataType } from "@favor/onnx";
import { rawLength } from "@favor/onnx";
import { CheckpointError } from "./errors.ts";
import { jsonObject, parseJson } from "./json.ts";
import { otherFormat } from "./other-formats.ts";
import type { CheckpointTensor, StateDict } from "./state-dict.ts";

/** The longest header that safetensors' own reader accepts, in bytes. */
const longestHeader = 100_000_000;

const dataTypes: ReadonlyMap<string, number> = new Map([
  ["BOOL", DataType.BOOL],
  ["F4", DataType.FLOAT4E2M1],
  ["F8_E5M2", DataType.FLOAT8E5M2],
  ["F8_E4M3", DataType.FLOAT8E4M3FN],
  ["F8_E8M0", DataType.FLOAT8E8M0],
  ["F8_E5M2FNUZ", DataType.FLOAT8E5M2FNUZ],
  ["F8_E4M3FNUZ", DataType.FLOAT8E4M3FNUZ],
  ["F16", DataType.FLOAT16],
  ["BF16", DataType.BFLOAT16],
  ["F32", DataType.FLOAT],
  ["F64", DataType.DOUBLE],
  ["C64", DataType.COMPLEX64],
  ["I8", DataType.INT8],
  ["U8", DataType.UINT8],
  ["I16", DataType.INT16],
  ["U16", DataType.UINT16],
  ["I32", DataType.INT32],
  ["U32", DataType.UINT32],
  ["I64", DataType.INT64],
  ["U64", DataType.UINT64],
]);

/**
 * Reads the tensors of a safetensors file and checks the rules of its specification: a header of at most 100 MB, unique
 * keys, offsets that cover the data without gaps or overlaps, sizes that match shape and type. Only the header is read;
 * each tensor is a range of the file. `name` is the file's name in messages.
 *
 * @throws CheckpointError "truncated", "malformed", "limit-exceeded", "unsupported-type"
 */
export function readSafetensors(file: ByteRange, name = "The safetensors file"): StateDict {
  const header = readHeader(file, name);
  const data = subRange(file, 8 + header.length, file.length - 8 - header.length);
  const entries: Entry[] = [];
  for (const [tensor, description] of Object.entries(header.entries)) {
    if (tensor === "__metadata__") checkMetadata(description, name);
    else entries.push(readEntry(tensor, description, data, name));
  }
  refuseHoles(entries, data.length, name);
  return new Map(entries.map(({ tensor, value }) => [tensor, value]));
}

interface Entry {
  readonly tensor: string;
  readonly begin: number;
  readonly end: number;
  readonly value: CheckpointTensor;
}

function readHeader(file: ByteRange, name: string): { length: number; entries: Readonly<Record<string, unknown>> } {
  if (file.length < 8) {
    throw new CheckpointError(
      "truncated",
      `${name} has only ${file.length} bytes, less than a header. The download or the save failed: repeat it.`,
    );
  }
  const start = readRange(file, 0, 8);
  const length = new DataView(start.buffer).getBigUint64(0, true);
  if (length > BigInt(longestHeader)) {
    const other = otherFormat(readRange(file, 0, Math.min(512, file.length)));
    if (other !== undefined) {
      throw new CheckpointError("unsupported-format", `${name} is ${other.what}. ${other.advice}`);
    }
    throw new CheckpointError(
      "limit-exceeded",
      `${name} claims a header of ${length} bytes, but safetensors allows ${longestHeader}. It is another format, ` +
        "or damaged: fetch it again.",
    );
  }
  const bytes = Number(length);
  if (bytes > file.length - 8) {
    throw new CheckpointError(
      "truncated",
      `${name} has a header of ${bytes} bytes, but only ${file.length - 8} follow. Fetch it again.`,
    );
  }
  const text = readRange(file, 8, bytes);
  const entries = text[0] === 0x7b ? jsonObject(parseJson(text, `The header of ${name}`)) : undefined;
  if (entries === undefined) throw malformed(name, "its header is no JSON object");
  return { length: bytes, entries };
}

function checkMetadata(metadata: unknown, name: string): void {
  const entries = jsonObject(metadata);
  if (entries !== undefined && Object.values(entries).every((value) => typeof value === "string")) return;
  throw malformed(name, "its __metadata__ is not an object of strings");
}

function readEntry(tensor: string, description: unknown, data: ByteRange, name: string): Entry {
  const fail = (what: string): CheckpointError => malformed(name, `tensor ${JSON.stringify(tensor)} ${what}`, tensor);
  const fields = jsonObject(description);
  if (fields === undefined) throw fail("is not described by an object");
  const { dtype, shape, data_offsets: offsets } = fields;
  const unknown = Object.keys(fields).find((key) => !["dtype", "shape", "data_offsets"].includes(key));
  if (unknown !== undefined) throw fail(`has the unknown field ${JSON.stringify(unknown)}`);
  if (!isNaturals(shape)) throw fail("has no shape of natural numbers");
  if (!isNaturals(offsets) || offsets.length !== 2) throw fail("has no pair of data_offsets");
  const [begin, end] = offsets as readonly [number, number];
  if (begin > end || end > data.length) {
    throw fail(`lies at bytes ${begin} to ${end} of ${data.length}. The file is incomplete or damaged`);
  }
  const dataType = dataTypes.get(String(dtype));
  const type = dataType === undefined ? undefined : elementType(dataType);
  if (dataType === undefined || type === undefined) {
    throw new CheckpointError(
      "unsupported-type",
      `${name}: tensor ${JSON.stringify(tensor)} has the type ${JSON.stringify(dtype)}, which ONNX has not, or not in ` +
        "that layout. Save the checkpoint in float32, float16 or bfloat16.",
      { tensor, type: dtype },
    );
  }
  const count = shape.reduce((product, dim) => product * BigInt(dim), 1n);
  if (count > BigInt(Number.MAX_SAFE_INTEGER)) throw fail(`has ${count} elements, beyond 2^53`);
  const length = rawLength(type, Number(count));
  if (length !== end - begin) {
    throw fail(`is ${String(dtype)}[${shape.join(", ")}], which takes ${length} bytes, but has ${end - begin}`);
  }
  return { tensor, begin, end, value: { dataType, dims: shape, range: subRange(data, begin, length) } };
}

function isNaturals(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((entry) => Number.isSafeInteger(entry) && entry >= 0);
}

function refuseHoles(entries: readonly Entry[], length: number, name: string): void {
  let covered = 0;
  for (const { tensor, begin, end } of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== covered) {
      const what = begin < covered ? "overlaps the tensor before it" : `leaves a gap of ${begin - covered} bytes`;
      throw malformed(name, `tensor ${JSON.stringify(tensor)} ${what}`, tensor);
    }
    covered = end;
  }
  if (covered !== length) {
    throw malformed(name, `its tensors take ${covered} bytes of data, but it has ${length}`);
  }
}

function malformed(name: string, what: string, tensor?: string): CheckpointError {
  const details = tensor === undefined ? {} : { tensor };
  return new CheckpointError("malformed", `${name}: ${what}. Fetch or save the checkpoint again.`, details);
}
