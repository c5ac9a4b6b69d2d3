import { DataType } from "@favor/onnx";

/** An array of a .npz file. */
export interface NpyArray {
  readonly dims: readonly number[];
  /** A value of {@link DataType}. */
  readonly dataType: number;
  /** The elements as they lie in the file: little-endian, row-major. */
  readonly bytes: Uint8Array;
}

const dataTypes: Readonly<Record<string, number>> = {
  "<f4": DataType.FLOAT,
  "<f8": DataType.DOUBLE,
  "<f2": DataType.FLOAT16,
  "<i8": DataType.INT64,
  "<i4": DataType.INT32,
  "<i2": DataType.INT16,
  "|i1": DataType.INT8,
  "<u8": DataType.UINT64,
  "<u4": DataType.UINT32,
  "<u2": DataType.UINT16,
  "|u1": DataType.UINT8,
  "|b1": DataType.BOOL,
};

/**
 * The arrays of a .npz file whose members are stored uncompressed, by name without ".npy". Offsets and sizes come from
 * the central directory: numpy writes ZIP64 local headers with sizes of 0xFFFFFFFF.
 */
export function readNpz(file: Uint8Array): Map<string, NpyArray> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let end = file.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("The file has no ZIP directory.");
  const arrays = new Map<string, NpyArray>();
  let entry = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const nameLength = view.getUint16(entry + 28, true);
    const name = new TextDecoder().decode(file.subarray(entry + 46, entry + 46 + nameLength));
    if (view.getUint16(entry + 10, true) !== 0) throw new Error(`Member ${name} is compressed.`);
    const size = view.getUint32(entry + 20, true);
    const local = view.getUint32(entry + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    arrays.set(name.replace(/\.npy$/, ""), readNpy(name, file.subarray(start, start + size)));
    entry += 46 + nameLength + view.getUint16(entry + 30, true) + view.getUint16(entry + 32, true);
  }
  return arrays;
}

function readNpy(name: string, file: Uint8Array): NpyArray {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const wide = file[6]! >= 2;
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder("latin1").decode(file.subarray(10, start));
  const type = /'descr': *'([^']*)'/.exec(header)?.[1] ?? "";
  const shape = /'shape': *\(([^)]*)\)/.exec(header)?.[1] ?? "";
  const dataType = dataTypes[type];
  if (dataType === undefined) throw new Error(`Member ${name} has the unknown type ${type}.`);
  const dims = shape.split(",").filter((dim) => dim.trim() !== "");
  const sizes = dims.map(Number);
  // The order of a vector's or a scalar's elements does not matter.
  if (/'fortran_order': *True/.test(header) && sizes.length > 1) throw new Error(`Member ${name} is in Fortran order.`);
  return { dims: sizes, dataType, bytes: file.subarray(start) };
}
