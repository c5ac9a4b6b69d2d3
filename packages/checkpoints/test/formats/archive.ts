/** A member of a ZIP archive that a test writes. */
export interface Member {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** 0 stored (default), 8 deflated: written into the headers, the bytes stay as they are. */
  readonly method?: number;
}

/** Bytes from texts (Latin-1), numbers (single bytes) and arrays. */
export function bytesOf(...parts: (string | number | Uint8Array)[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts.map((part) => (typeof part === "string" ? latin1(part) : single(part)))));
}

const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1");
const single = (part: number | Uint8Array): Uint8Array => (typeof part === "number" ? Uint8Array.of(part) : part);

/** A natural number in `width` bytes, little-endian. */
export function little(value: number | bigint, width: number): Uint8Array {
  return Uint8Array.from({ length: width }, (_, index) => Number((BigInt(value) >> BigInt(8 * index)) & 255n));
}

export interface ZipOptions {
  /** Every size and place is in the ZIP64 records. Default false. */
  readonly zip64?: boolean;
}

/** A ZIP archive, as PyTorch writes one. */
export function zip(members: readonly Member[], options: ZipOptions = {}): Uint8Array {
  const { zip64 = false } = options;
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  const add = (part: Uint8Array): void => {
    parts.push(part);
    at += part.length;
  };
  for (const { name, bytes, method = 0 } of members) {
    const size = zip64 ? 0xffffffff : bytes.length;
    const fields = bytesOf(
      little(20, 2),
      little(0, 2),
      little(method, 2),
      little(0, 8),
      little(size, 4),
      little(size, 4),
    );
    const wide = bytesOf(little(1, 2), little(24, 2), little(bytes.length, 8), little(bytes.length, 8), little(at, 8));
    const extra = zip64 ? wide : new Uint8Array(0);
    directory.push(
      bytesOf("PK", 1, 2, little(20, 2), fields, little(name.length, 2), little(extra.length, 2), little(0, 10)),
      bytesOf(little(zip64 ? 0xffffffff : at, 4), name, extra),
    );
    // PyTorch pads here so that the bytes begin at a multiple of 64.
    const padding = new Uint8Array(5);
    add(bytesOf("PK", 3, 4, fields, little(name.length, 2), little(padding.length, 2), name, padding));
    add(bytes);
  }
  const start = at;
  for (const part of directory) add(part);
  const length = at - start;
  if (zip64) {
    const record = at;
    const count = little(members.length, 8);
    add(bytesOf("PK", 6, 6, little(44, 8), little(0, 12), count, count, little(length, 8), little(start, 8)));
    add(bytesOf("PK", 6, 7, little(0, 4), little(record, 8), little(1, 4)));
  }
  const count = zip64 ? 0xffff : members.length;
  const place = zip64 ? 0xffffffff : start;
  const size = zip64 ? 0xffffffff : length;
  add(
    bytesOf(
      "PK",
      5,
      6,
      little(0, 4),
      little(count, 2),
      little(count, 2),
      little(size, 4),
      little(place, 4),
      little(0, 2),
    ),
  );
  return bytesOf(...parts);
}

/** A pickle of protocol 2, opcode by opcode. */
export const pickle = {
  start: bytesOf(0x80, 2),
  stop: bytesOf("."),
  mark: bytesOf("("),
  none: bytesOf("N"),
  emptyTuple: bytesOf(")"),
  emptyList: bytesOf("]"),
  emptyDict: bytesOf("}"),
  tuple: bytesOf("t"),
  reduce: bytesOf("R"),
  setItems: bytesOf("u"),
  persistent: bytesOf("Q"),
  global: (module: string, name: string): Uint8Array => bytesOf("c", module, "\n", name, "\n"),
  text: (text: string): Uint8Array => bytesOf("X", little(text.length, 4), text),
  integer: (value: number): Uint8Array => bytesOf(0x8a, 8, little(BigInt.asUintN(64, BigInt(value)), 8)),
};

export interface StoredView {
  readonly offset?: number;
  readonly dims?: readonly number[];
  readonly strides?: readonly number[];
  /** What the pickle says that the storage holds. Default: what it does. */
  readonly elements?: number;
  readonly key?: string;
  readonly storageClass?: string;
}

/** A file of torch.save whose state dict is { "w": a view of 6 floats, 0 to 5 }. */
export function torchFile(view: StoredView = {}, options: ZipOptions = {}): Uint8Array {
  const { offset = 0, dims = [2, 3], strides = [3, 1], elements = 6, key = "0", storageClass = "FloatStorage" } = view;
  const integers = (values: readonly number[]): Uint8Array =>
    bytesOf(pickle.mark, ...values.map((value) => pickle.integer(value)), pickle.tuple);
  const storage = bytesOf(
    pickle.mark,
    pickle.text("storage"),
    pickle.global("torch", storageClass),
    pickle.text(key),
    pickle.text("cuda:0"),
    pickle.integer(elements),
    pickle.tuple,
    pickle.persistent,
  );
  const hooks = bytesOf(pickle.global("collections", "OrderedDict"), pickle.emptyTuple, pickle.reduce);
  const args = bytesOf(
    pickle.mark,
    storage,
    pickle.integer(offset),
    integers(dims),
    integers(strides),
    0x89,
    hooks,
    pickle.tuple,
  );
  const tensor = bytesOf(pickle.global("torch._utils", "_rebuild_tensor_v2"), args, pickle.reduce);
  const values = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
  return pickledFile(
    bytesOf(pickle.emptyDict, pickle.mark, pickle.text("w"), tensor, pickle.setItems),
    values,
    options,
  );
}

/** A file of torch.save around a pickle's opcodes, with one storage "0". */
export function pickledFile(
  opcodes: Uint8Array,
  storage: Uint8Array = new Uint8Array(0),
  options: ZipOptions = {},
): Uint8Array {
  const members = [
    { name: "archive/data.pkl", bytes: bytesOf(pickle.start, opcodes, pickle.stop) },
    { name: "archive/data/0", bytes: storage },
    { name: "archive/version", bytes: bytesOf("3\n") },
  ];
  return zip(members, options);
}
