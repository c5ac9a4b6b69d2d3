import type Long from "long";

/**
 * The ONNX messages as this package holds them in memory: what protobufjs decodes from `schema.ts`, in camel case.
 * Repeated fields are always arrays; optional scalars that the file does not carry read as their default
 * (0, "", empty) and are not written. int64 fields are `Long`. Bytes are views on the file (often unaligned).
 * Fields that the schema does not know are kept and written back.
 */
export interface ModelProto {
  irVersion: Long;
  opsetImport: OperatorSetIdProto[];
  producerName: string;
  producerVersion: string;
  domain: string;
  modelVersion: Long;
  docString: string;
  graph: GraphProto;
  metadataProps: StringStringEntryProto[];
  functions: FunctionProto[];
}

export interface OperatorSetIdProto {
  domain: string;
  version: Long;
}

export interface StringStringEntryProto {
  key: string;
  value: string;
}

export interface GraphProto {
  node: NodeProto[];
  name: string;
  initializer: TensorProto[];
  sparseInitializer: SparseTensorProto[];
  docString: string;
  input: ValueInfoProto[];
  output: ValueInfoProto[];
  valueInfo: ValueInfoProto[];
  metadataProps: StringStringEntryProto[];
}

export interface NodeProto {
  input: string[];
  output: string[];
  name: string;
  opType: string;
  domain: string;
  overload: string;
  attribute: AttributeProto[];
  docString: string;
  metadataProps: StringStringEntryProto[];
}

/** onnx.AttributeProto.AttributeType */
export const AttributeType = {
  UNDEFINED: 0,
  FLOAT: 1,
  INT: 2,
  STRING: 3,
  TENSOR: 4,
  GRAPH: 5,
  FLOATS: 6,
  INTS: 7,
  STRINGS: 8,
  TENSORS: 9,
  GRAPHS: 10,
  SPARSE_TENSOR: 11,
  SPARSE_TENSORS: 12,
  TYPE_PROTO: 13,
  TYPE_PROTOS: 14,
} as const;

export interface AttributeProto {
  name: string;
  refAttrName: string;
  docString: string;
  type: number;
  f: number;
  i: Long;
  s: Uint8Array;
  t: TensorProto | null;
  g: GraphProto | null;
  floats: number[];
  ints: Long[];
  strings: Uint8Array[];
  tensors: TensorProto[];
  graphs: GraphProto[];
}

/** onnx.TensorProto.DataType */
export const DataType = {
  UNDEFINED: 0,
  FLOAT: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  STRING: 8,
  BOOL: 9,
  FLOAT16: 10,
  DOUBLE: 11,
  UINT32: 12,
  UINT64: 13,
  COMPLEX64: 14,
  COMPLEX128: 15,
  BFLOAT16: 16,
  FLOAT8E4M3FN: 17,
  FLOAT8E4M3FNUZ: 18,
  FLOAT8E5M2: 19,
  FLOAT8E5M2FNUZ: 20,
  UINT4: 21,
  INT4: 22,
  FLOAT4E2M1: 23,
  FLOAT8E8M0: 24,
  UINT2: 25,
  INT2: 26,
} as const;

export interface TensorProto {
  dims: Long[];
  dataType: number;
  floatData: number[];
  int32Data: number[];
  stringData: Uint8Array[];
  int64Data: Long[];
  name: string;
  docString: string;
  rawData: Uint8Array;
  externalData: StringStringEntryProto[];
  /** 0 DEFAULT (in the file), 1 EXTERNAL */
  dataLocation: number;
  doubleData: number[];
  uint64Data: Long[];
  metadataProps: StringStringEntryProto[];
}

export interface SparseTensorProto {
  values: TensorProto | null;
  indices: TensorProto | null;
  dims: Long[];
}

export interface ValueInfoProto {
  name: string;
  type: TypeProto | null;
  docString: string;
  metadataProps: StringStringEntryProto[];
}

export interface TypeProto {
  tensorType?: TensorTypeProto | null;
  denotation: string;
}

export interface TensorTypeProto {
  elemType: number;
  shape?: TensorShapeProto | null;
}

export interface TensorShapeProto {
  dim: DimensionProto[];
}

/** At most one of the two is set; neither: an unknown, unnamed dimension. */
export interface DimensionProto {
  dimValue?: Long | null;
  dimParam?: string | null;
  denotation: string;
}

export interface FunctionProto {
  name: string;
  input: string[];
  output: string[];
  attribute: string[];
  attributeProto: AttributeProto[];
  node: NodeProto[];
  docString: string;
  opsetImport: OperatorSetIdProto[];
  domain: string;
  overload: string;
  valueInfo: ValueInfoProto[];
  metadataProps: StringStringEntryProto[];
}
