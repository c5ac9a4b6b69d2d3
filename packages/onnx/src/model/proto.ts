import type Long from "long";
import type { TensorSource } from "./byte-range.ts";

/**
 * Key of how the file wrote the fields: bit i stands for the message's i-th field in the order of field numbers. For a
 * scalar, the bit means that the file carried it. For repeated numbers, it means that their packing differs from ONNX's
 * schema (protobuf allows both; JavaScript's onnx-proto packs everything).
 */
export const presentFields: unique symbol = Symbol("favor.onnx.presentFields");
/** Key of the fields that the schema does not know, each with its tag as in the file. */
export const unknownFields: unique symbol = Symbol("favor.onnx.unknownFields");

/** What every message has besides its own fields. The keys are symbols, so that `{ ...node, name }` keeps both. */
export interface Message {
  /** Absent if the message was not read from a file. An attribute then always writes the field that `type` names. */
  [presentFields]?: number;
  [unknownFields]?: Uint8Array[];
}

/**
 * The ONNX messages in memory, in the form that protobufjs decodes with `schema.ts`, in camel case. Repeated fields
 * are always arrays. Optional scalars that the file does not carry read as their default (0, "", empty) and are not written;
 * a default that the file carries is written again. int64 fields are `Long`. Bytes are views of the file, often
 * unaligned. Unknown fields are kept and written back.
 */
export interface ModelProto extends Message {
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
  /** Always set by the decoder. You may leave it out of a new model, like every optional field below. */
  trainingInfo?: TrainingInfoProto[];
  configuration?: DeviceConfigurationProto[];
}

export interface TrainingInfoProto extends Message {
  initialization: GraphProto | null;
  algorithm: GraphProto | null;
  initializationBinding: StringStringEntryProto[];
  updateBinding: StringStringEntryProto[];
}

export interface DeviceConfigurationProto extends Message {
  name: string;
  numDevices: number;
  device: string[];
}

export interface OperatorSetIdProto extends Message {
  domain: string;
  version: Long;
}

export interface StringStringEntryProto extends Message {
  key: string;
  value: string;
}

export interface GraphProto extends Message {
  node: NodeProto[];
  name: string;
  initializer: TensorProto[];
  sparseInitializer: SparseTensorProto[];
  docString: string;
  input: ValueInfoProto[];
  output: ValueInfoProto[];
  valueInfo: ValueInfoProto[];
  metadataProps: StringStringEntryProto[];
  quantizationAnnotation?: TensorAnnotation[];
}

export interface TensorAnnotation extends Message {
  tensorName: string;
  quantParameterTensorNames: StringStringEntryProto[];
}

export interface NodeProto extends Message {
  input: string[];
  output: string[];
  name: string;
  opType: string;
  domain: string;
  overload: string;
  attribute: AttributeProto[];
  docString: string;
  metadataProps: StringStringEntryProto[];
  deviceConfigurations?: NodeDeviceConfigurationProto[];
}

export interface NodeDeviceConfigurationProto extends Message {
  configurationId: string;
  shardingSpec: ShardingSpecProto[];
  pipelineStage: number;
}

export interface ShardingSpecProto extends Message {
  tensorName: string;
  device: Long[];
  indexToDeviceGroupMap: IntIntListEntryProto[];
  shardedDim: ShardedDimProto[];
}

export interface IntIntListEntryProto extends Message {
  key: Long;
  value: Long[];
}

export interface ShardedDimProto extends Message {
  axis: Long;
  simpleSharding: SimpleShardedDimProto[];
}

/** At most one of `dimValue` and `dimParam` is set. */
export interface SimpleShardedDimProto extends Message {
  dimValue?: Long | null;
  dimParam?: string | null;
  numShards: Long;
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

export interface AttributeProto extends Message {
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
  sparseTensor?: SparseTensorProto | null;
  sparseTensors?: SparseTensorProto[];
  tp?: TypeProto | null;
  typeProtos?: TypeProto[];
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
  FLOAT6E2M3: 27,
  FLOAT6E3M2: 28,
} as const;

export interface TensorProto extends Message {
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
  segment?: SegmentProto | null;
  /**
   * Where the values are if they have not been read: then `rawData` (or `floatData`, `doubleData`) is empty, and
   * `tensorValues` and the encoder read from here. Set by `openModel`, and never together with values.
   */
  source?: TensorSource;
}

/** TensorProto.Segment: no known runtime reads it. */
export interface SegmentProto extends Message {
  begin: Long;
  end: Long;
}

export interface SparseTensorProto extends Message {
  values: TensorProto | null;
  indices: TensorProto | null;
  dims: Long[];
}

export interface ValueInfoProto extends Message {
  name: string;
  type: TypeProto | null;
  docString: string;
  metadataProps: StringStringEntryProto[];
}

/** At most one of the kinds is set. */
export interface TypeProto extends Message {
  tensorType?: TensorTypeProto | null;
  sequenceType?: ElementTypeProto | null;
  mapType?: MapTypeProto | null;
  optionalType?: ElementTypeProto | null;
  sparseTensorType?: TensorTypeProto | null;
  opaqueType?: OpaqueTypeProto | null;
  denotation: string;
}

/** TypeProto.Sequence and TypeProto.Optional */
export interface ElementTypeProto extends Message {
  elemType: TypeProto | null;
}

export interface MapTypeProto extends Message {
  keyType: number;
  valueType: TypeProto | null;
}

export interface OpaqueTypeProto extends Message {
  domain: string;
  name: string;
}

export interface TensorTypeProto extends Message {
  elemType: number;
  shape?: TensorShapeProto | null;
}

export interface TensorShapeProto extends Message {
  dim: DimensionProto[];
}

/** At most one of the two is set. If neither is, the dimension is unknown and unnamed. */
export interface DimensionProto extends Message {
  dimValue?: Long | null;
  dimParam?: string | null;
  denotation: string;
}

export interface FunctionProto extends Message {
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
