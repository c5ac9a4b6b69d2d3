import { subRange } from "@favor/onnx";
import type { ByteRange } from "@favor/onnx";
import { elementType } from "@favor/onnx";
import { DataType } from "@favor/onnx";
import { CheckpointError } from "./errors.ts";
import type { PickleGlobal } from "./pickle.ts";
import type { CheckpointTensor } from "./state-dict.ts";
import { isContiguous, reach, stridedRange } from "./strided.ts";

/** `torch.<name>Storage`, the class that determines a storage's element type. */
const storageTypes: ReadonlyMap<string, number> = new Map([
  ["Float", DataType.FLOAT],
  ["Double", DataType.DOUBLE],
  ["Half", DataType.FLOAT16],
  ["BFloat16", DataType.BFLOAT16],
  ["Long", DataType.INT64],
  ["Int", DataType.INT32],
  ["Short", DataType.INT16],
  ["Char", DataType.INT8],
  ["Byte", DataType.UINT8],
  ["Bool", DataType.BOOL],
  ["ComplexFloat", DataType.COMPLEX64],
  ["ComplexDouble", DataType.COMPLEX128],
]);

/** `torch.<name>`, the dtypes of tensors whose storage is untyped. */
const dtypes: ReadonlyMap<string, number> = new Map([
  ["float32", DataType.FLOAT],
  ["float64", DataType.DOUBLE],
  ["float16", DataType.FLOAT16],
  ["bfloat16", DataType.BFLOAT16],
  ["float8_e4m3fn", DataType.FLOAT8E4M3FN],
  ["float8_e4m3fnuz", DataType.FLOAT8E4M3FNUZ],
  ["float8_e5m2", DataType.FLOAT8E5M2],
  ["float8_e5m2fnuz", DataType.FLOAT8E5M2FNUZ],
  ["float8_e8m0fnu", DataType.FLOAT8E8M0],
  ["int64", DataType.INT64],
  ["int32", DataType.INT32],
  ["int16", DataType.INT16],
  ["int8", DataType.INT8],
  ["uint64", DataType.UINT64],
  ["uint32", DataType.UINT32],
  ["uint16", DataType.UINT16],
  ["uint8", DataType.UINT8],
  ["bool", DataType.BOOL],
  ["complex64", DataType.COMPLEX64],
  ["complex128", DataType.COMPLEX128],
]);

/** Limit for views that repeat elements of a smaller storage: real ones are small buffers, others are bombs. */
const mostRepeated = 1 << 24;

/** A storage of the archive: its bytes, and its element type if the class determines one. */
class Storage {
  readonly key: string;
  readonly dataType: number | undefined;
  readonly range: ByteRange;

  constructor(key: string, dataType: number | undefined, range: ByteRange) {
    this.key = key;
    this.dataType = dataType;
    this.range = range;
  }
}

/** A tensor as described by the pickle. */
export class StoredTensor implements CheckpointTensor {
  readonly dataType: number;
  readonly dims: readonly number[];
  readonly range: ByteRange;

  constructor(dataType: number, dims: readonly number[], range: ByteRange) {
    this.dataType = dataType;
    this.dims = dims;
    this.range = range;
  }
}

/** The storages of a PyTorch archive. Tensors may share one. */
export class TorchStorages {
  readonly #members: ReadonlyMap<string, ByteRange>;
  readonly #folder: string;
  readonly #file: string;

  /** `folder` is the members' prefix ("archive/data/"), `file` the archive's name in messages. */
  constructor(members: ReadonlyMap<string, ByteRange>, folder: string, file: string) {
    this.#members = members;
    this.#folder = folder;
    this.#file = file;
  }

  /**
   * Resolves a persistent id: ("storage", class, key, device, elements).
   *
   * @throws CheckpointError "malformed" if there is no such member, or it has another size
   */
  storage(id: unknown): Storage {
    const [kind, type, key, , elements] = Array.isArray(id) ? (id as unknown[]) : [];
    if (kind !== "storage" || typeof key !== "string" || !isNatural(elements)) {
      throw malformed(this.#file, "a persistent id is not one of a storage");
    }
    const { name } = (type ?? {}) as Partial<PickleGlobal>;
    const dataType = storageTypes.get(/^torch\.(\w+)Storage$/.exec(name ?? "")?.[1] ?? "");
    const isUntyped = name === "torch.storage.UntypedStorage";
    if (dataType === undefined && !isUntyped) throw malformed(this.#file, `storage ${key} has no storage class`);
    const range = this.#members.get(this.#folder + key);
    if (range === undefined) throw malformed(this.#file, `storage ${JSON.stringify(key)} is not in the archive`);
    // Untyped storages count bytes.
    const bytes = elements * (dataType === undefined ? 1 : width(dataType));
    if (bytes !== range.length) {
      throw malformed(this.#file, `storage ${JSON.stringify(key)} should have ${bytes} bytes, but has ${range.length}`);
    }
    return new Storage(key, dataType, range);
  }
}

/** The globals that a state dict may refer to; no others are known. */
export function torchGlobals(file: string): ReadonlyMap<string, PickleGlobal> {
  const fail = (what: string): CheckpointError => malformed(file, what);
  const rebuild = (args: readonly unknown[], dtype?: number): StoredTensor => {
    const [storage, offset, dims, strides] = args;
    if (!(storage instanceof Storage)) throw fail("a tensor has no storage");
    const dataType = storage.dataType ?? dtype;
    if (dataType === undefined) throw fail(`a tensor of storage ${storage.key} has no element type`);
    if (!isNatural(offset) || !areNaturals(dims) || !areNaturals(strides) || dims.length !== strides.length) {
      throw fail(`a tensor of storage ${storage.key} has an invalid shape or strides`);
    }
    return viewOf(storage, dataType, offset, dims, strides, fail);
  };
  const globals: PickleGlobal[] = [
    { name: "torch._utils._rebuild_tensor_v2", call: (args) => rebuild(args) },
    {
      name: "torch._utils._rebuild_tensor_v3",
      call: (args) => rebuild(args, dtypes.get(dtypeName(args[6]))),
    },
    {
      name: "torch._utils._rebuild_parameter",
      call: ([tensor]) => {
        if (tensor instanceof StoredTensor) return tensor;
        throw fail("a parameter holds no tensor");
      },
    },
    {
      name: "collections.OrderedDict",
      call: (args) => {
        if (args.length === 0) return new Map();
        throw fail("an OrderedDict is given items where torch.save sets them one by one");
      },
    },
    { name: "torch.storage.UntypedStorage" },
    ...[...storageTypes.keys()].map((name) => ({ name: `torch.${name}Storage` })),
    ...[...dtypes.keys()].map((name) => ({ name: `torch.${name}` })),
  ];
  return new Map(globals.map((global) => [global.name, global]));
}

function viewOf(
  storage: Storage,
  dataType: number,
  offset: number,
  dims: readonly number[],
  strides: readonly number[],
  fail: (what: string) => CheckpointError,
): StoredTensor {
  const view = { dims, strides, width: width(dataType) };
  const held = storage.range.length / view.width;
  const reached = reach(view);
  const shown = `a tensor [${dims.join(", ")}] of storage ${storage.key}`;
  // Beyond 2^53 the sums are inexact, but too large anyway.
  if (!(offset + reached <= held)) throw fail(`${shown} reaches to element ${offset + reached} of ${held}`);
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (count > Math.max(held, mostRepeated)) {
    throw new CheckpointError(
      "limit-exceeded",
      `${shown} repeats ${held} elements to ${count}. Do not trust this file.`,
    );
  }
  const bytes = subRange(storage.range, offset * view.width, reached * view.width);
  return new StoredTensor(dataType, dims, isContiguous(view) ? bytes : stridedRange(bytes, view));
}

function dtypeName(value: unknown): string {
  return String((value as Partial<PickleGlobal> | undefined)?.name).replace(/^torch\./, "");
}

/** Size of an element in bytes, which is whole for every type in the tables above. */
function width(dataType: number): number {
  return elementType(dataType)!.bits / 8;
}

function isNatural(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function areNaturals(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length <= 64 && value.every(isNatural);
}

function malformed(file: string, what: string): CheckpointError {
  return new CheckpointError("malformed", `${file}: ${what}. The checkpoint is damaged: fetch or save it again.`);
}
