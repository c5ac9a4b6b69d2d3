import { ArgumentError } from "@favor/core";
import { memoryRange, subRange } from "./byte-range.ts";
import type { ByteRange } from "./byte-range.ts";
import { elementType } from "./element-types.ts";
import { ExternalDataError } from "./errors.ts";
import type { ModelProto, TensorProto } from "./proto.ts";
import { checkTensor, rawLength, tensorShape } from "./tensor-shape.ts";
import { modelTensors } from "./walk.ts";

/** Where a tensor's values are stored, according to the model. */
export interface ExternalLocation {
  /** A relative path with "/" as separator, without ".." and without anything that some system treats as special. */
  readonly location: string;
  /** in bytes */
  readonly offset: number;
  /** in bytes; undefined: the number of bytes that the shape needs */
  readonly length: number | undefined;
}

/**
 * Gives the file at `location` as a range. `tensor`, for messages, is the name of the tensor that needs it.
 * Called once per location.
 */
export type ExternalDataLoader = (location: string, tensor: string) => ByteRange;

/** The keys of ONNX's specification, and `basepath`, which Python's onnx writes but no reader uses. */
const knownKeys: ReadonlySet<string> = new Set(["location", "offset", "length", "checksum", "basepath"]);
/** Names that Windows reserves for devices, with or without an extension. */
const deviceName = /^(con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(\.|$)/i;

/**
 * Reads and checks the external data entries of a tensor. Keys must be known and occur once, the location must stay
 * inside the model's folder on every system, and offset and length must be natural numbers.
 * Throws ExternalDataError.
 */
export function externalLocation(tensor: TensorProto): ExternalLocation {
  const entries = new Map<string, string>();
  const shown = tensor.externalData.find((entry) => entry.key === "location")?.value ?? "";
  const fail = (message: string): never => {
    throw new ExternalDataError(tensor.name, shown, message);
  };
  for (const { key, value } of tensor.externalData) {
    if (!knownKeys.has(key)) fail(`the key ${JSON.stringify(key)} is not part of ONNX. Save the model again.`);
    if (entries.has(key)) fail(`the key ${JSON.stringify(key)} occurs twice. Save the model again.`);
    entries.set(key, value);
  }
  const location = entries.get("location") ?? "";
  const problem = locationProblem(location);
  if (problem !== undefined) {
    fail(`${problem}. External data must be in the model's folder or below. Move it there and save the model again.`);
  }
  const natural = (key: string): number | undefined => {
    const value = entries.get(key);
    if (value === undefined) return undefined;
    if (!/^[0-9]{1,16}$/.test(value) || !Number.isSafeInteger(Number(value))) {
      fail(`its ${key} ${JSON.stringify(value)} is not a natural number below 2^53. Save the model again.`);
    }
    return Number(value);
  };
  const parts = location.split("/").filter((part) => part !== ".");
  return { location: parts.join("/"), offset: natural("offset") ?? 0, length: natural("length") };
}

/** Why a location is refused, by the rules of both POSIX and Windows; undefined if it is fine. */
function locationProblem(location: string): string | undefined {
  if (location === "") return "it has no location";
  if (location.includes("_ORT_MEM_ADDR_")) return "it names an address in the memory of onnxruntime, not a file";
  if (/\p{Cc}/u.test(location)) return "its location has a control character";
  if (/^[/\\]/.test(location) || /^[A-Za-z]:/.test(location)) return "its location is absolute";
  if (/[\\:*?"<>|]/.test(location)) return 'its location has one of \\ : * ? " < > |';
  if (/^[./]+$/.test(location)) return "its location names a folder";
  for (const part of location.split("/")) {
    if (part === "..") return 'its location has ".."';
    if (part === "") return "its location has an empty part";
    if (part !== "." && /[. ]$/.test(part)) return "a part of its location ends with a dot or a space";
    if (deviceName.test(part)) return `its location has the device name ${JSON.stringify(part)}`;
  }
  return undefined;
}

/**
 * Sets the `source` of every tensor with external data, so that `tensorValues` and the encoders can read it. Reads
 * nothing yet. Tensors may share a region (tied weights), but regions must not partly overlap.
 *
 * In a browser: `attachExternalData(model, externalDataFromMemory(bytes))`.
 * Throws ExternalDataError, TensorError, and any error of `load`.
 */
export function attachExternalData(model: ModelProto, load: ExternalDataLoader): void {
  const files = new Map<string, ExternalFile>();
  const spellings = new Map<string, string>();
  for (const tensor of modelTensors(model)) {
    if (tensor.dataLocation !== 1) continue;
    const { location, offset, length: stated } = externalLocation(tensor);
    const fail = (message: string): never => {
      throw new ExternalDataError(tensor.name, location, message);
    };
    const folded = location.normalize("NFC").toLowerCase();
    const spelling = spellings.get(folded) ?? location;
    if (spelling !== location) fail(`another tensor writes it ${JSON.stringify(spelling)}. Rename one of the files.`);
    spellings.set(folded, location);

    let file = files.get(location);
    if (file === undefined) files.set(location, (file = { range: load(location, tensor.name), regions: [] }));
    const type = elementType(tensor.dataType);
    const length = stated ?? (type === undefined ? undefined : rawLength(type, tensorShape(tensor).count));
    if (length === undefined) return fail("the model gives no length, and the element type is unknown.");
    if (offset > file.range.length || length > file.range.length - offset) {
      fail(
        `it needs bytes ${offset} to ${offset + length}, but the file has ${file.range.length}. ` +
          "The file is incomplete, or belongs to another model. Download or export both again.",
      );
    }
    tensor.source = { field: "externalData", range: subRange(file.range, offset, length) };
    checkTensor(tensor);
    if (length > 0) file.regions.push({ start: offset, end: offset + length, tensor: tensor.name });
  }
  for (const [location, { regions }] of files) refuseOverlaps(location, regions);
}

interface Region {
  readonly start: number;
  readonly end: number;
  readonly tensor: string;
}

interface ExternalFile {
  readonly range: ByteRange;
  readonly regions: Region[];
}

function refuseOverlaps(location: string, regions: Region[]): void {
  regions.sort((a, b) => a.start - b.start || a.end - b.end);
  for (let index = 1; index < regions.length; index++) {
    const before = regions[index - 1]!;
    const region = regions[index]!;
    if (region.start >= before.end || (region.start === before.start && region.end === before.end)) continue;
    throw new ExternalDataError(
      region.tensor,
      location,
      `its bytes ${region.start} to ${region.end} overlap those of tensor ${JSON.stringify(before.tensor)}, ` +
        `${before.start} to ${before.end}. The model is damaged: save it again.`,
    );
  }
}

/**
 * Files of external data in memory: one file's bytes, for a model with one, or each file's bytes by its location, in a
 * Map or a plain object. Of an ArrayBufferView, the bytes that it shows.
 */
export type ExternalDataFiles = FileBytes | ReadonlyMap<string, FileBytes> | Readonly<Record<string, FileBytes>>;

type FileBytes = ArrayBuffer | ArrayBufferView;

/**
 * A loader for files in memory. It throws ExternalDataError for a location that was not given; given one file, it
 * throws if the model has its data in a second one.
 *
 * @throws ArgumentError for anything but bytes
 */
export function externalDataFromMemory(files: ExternalDataFiles): ExternalDataLoader {
  const given = isBytes(files) ? undefined : filesByLocation(files);
  const only = isBytes(files) ? memoryRange(bytesOf(files)) : undefined;
  let first: string | undefined;
  return (location, tensor) => {
    const fail = (message: string): never => {
      throw new ExternalDataError(tensor, location, message);
    };
    if (only !== undefined) {
      first ??= location;
      if (location === first) return only;
      return fail(
        `the bytes of one file were given, and ${JSON.stringify(first)} has them. Give each file by its name.`,
      );
    }
    const range = given!.get(location);
    if (range !== undefined) return range;
    const names = [...given!.keys()];
    return fail(
      `this file was not given. ${names.length === 0 ? "No file was" : `The given files are: ${names.join(", ")}`}.`,
    );
  };
}

function filesByLocation(files: Exclude<ExternalDataFiles, FileBytes>): ReadonlyMap<string, ByteRange> {
  const entries: unknown = files instanceof Map ? [...files] : isRecord(files) ? Object.entries(files) : undefined;
  if (entries === undefined) throw new ArgumentError("externalData", expectedFiles, files);
  return new Map(
    (entries as [string, FileBytes][]).map(([location, bytes]) => {
      if (!isBytes(bytes)) throw new ArgumentError(`externalData["${location}"]`, "its bytes", bytes);
      return [location, memoryRange(bytesOf(bytes))];
    }),
  );
}

const expectedFiles = "the bytes of a file (Uint8Array or ArrayBuffer), or each file's bytes by its name";

const isRecord = (files: unknown): boolean => typeof files === "object" && files !== null;

function isBytes(files: unknown): files is FileBytes {
  return files instanceof ArrayBuffer || ArrayBuffer.isView(files);
}

function bytesOf(bytes: FileBytes): Uint8Array {
  if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
