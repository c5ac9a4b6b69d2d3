import { DataType } from "./proto.ts";

/** The field of TensorProto that may hold the values of an element type instead of `raw_data`. */
export type TypedField = "floatData" | "int32Data" | "int64Data" | "doubleData" | "uint64Data" | "stringData";

/** An element type of ONNX. */
export interface ElementType {
  readonly name: keyof typeof DataType;
  /** Width in `raw_data`; elements under 8 bits are packed from the lowest bit up. 0 for strings. */
  readonly bits: number;
  readonly typedField: TypedField;
  /** How many entries of `typedField` an element takes: 2 for complex, 1/2 for 4-bit types, 1/4 for 2-bit types. */
  readonly typedEntries: number;
}

const type = (name: keyof typeof DataType, bits: number, typedField: TypedField, typedEntries = 1): ElementType => ({
  name,
  bits,
  typedField,
  typedEntries,
});

const elementTypes: ReadonlyMap<number, ElementType> = new Map(
  [
    type("FLOAT", 32, "floatData"),
    type("UINT8", 8, "int32Data"),
    type("INT8", 8, "int32Data"),
    type("UINT16", 16, "int32Data"),
    type("INT16", 16, "int32Data"),
    type("INT32", 32, "int32Data"),
    type("INT64", 64, "int64Data"),
    type("STRING", 0, "stringData"),
    type("BOOL", 8, "int32Data"),
    type("FLOAT16", 16, "int32Data"),
    type("DOUBLE", 64, "doubleData"),
    type("UINT32", 32, "uint64Data"),
    type("UINT64", 64, "uint64Data"),
    type("COMPLEX64", 64, "floatData", 2),
    type("COMPLEX128", 128, "doubleData", 2),
    type("BFLOAT16", 16, "int32Data"),
    type("FLOAT8E4M3FN", 8, "int32Data"),
    type("FLOAT8E4M3FNUZ", 8, "int32Data"),
    type("FLOAT8E5M2", 8, "int32Data"),
    type("FLOAT8E5M2FNUZ", 8, "int32Data"),
    type("UINT4", 4, "int32Data", 1 / 2),
    type("INT4", 4, "int32Data", 1 / 2),
    type("FLOAT4E2M1", 4, "int32Data", 1 / 2),
    type("FLOAT8E8M0", 8, "int32Data"),
    type("UINT2", 2, "int32Data", 1 / 4),
    type("INT2", 2, "int32Data", 1 / 4),
    type("FLOAT6E2M3", 6, "int32Data"),
    type("FLOAT6E3M2", 6, "int32Data"),
  ].map((entry) => [DataType[entry.name], entry]),
);

/** The element type of a `data_type`; undefined if ONNX (as of IR 14) has none. */
export function elementType(dataType: number): ElementType | undefined {
  return elementTypes.get(dataType);
}
