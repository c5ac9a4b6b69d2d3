import Long from "long";
import type * as proto from "./proto.ts";

/** The newest `ir_version` that this package supports (ONNX 1.23). */
export const newestIrVersion = 14;

/** The decoded type of each name in the schema. */
export interface Messages {
  AttributeProto: proto.AttributeProto;
  ValueInfoProto: proto.ValueInfoProto;
  NodeProto: proto.NodeProto;
  IntIntListEntryProto: proto.IntIntListEntryProto;
  NodeDeviceConfigurationProto: proto.NodeDeviceConfigurationProto;
  ShardingSpecProto: proto.ShardingSpecProto;
  ShardedDimProto: proto.ShardedDimProto;
  SimpleShardedDimProto: proto.SimpleShardedDimProto;
  TrainingInfoProto: proto.TrainingInfoProto;
  ModelProto: proto.ModelProto;
  DeviceConfigurationProto: proto.DeviceConfigurationProto;
  StringStringEntryProto: proto.StringStringEntryProto;
  TensorAnnotation: proto.TensorAnnotation;
  GraphProto: proto.GraphProto;
  SegmentProto: proto.SegmentProto;
  TensorProto: proto.TensorProto;
  SparseTensorProto: proto.SparseTensorProto;
  DimensionProto: proto.DimensionProto;
  TensorShapeProto: proto.TensorShapeProto;
  TensorTypeProto: proto.TensorTypeProto;
  ElementTypeProto: proto.ElementTypeProto;
  MapTypeProto: proto.MapTypeProto;
  OpaqueTypeProto: proto.OpaqueTypeProto;
  TypeProto: proto.TypeProto;
  OperatorSetIdProto: proto.OperatorSetIdProto;
  FunctionProto: proto.FunctionProto;
}

type Scalar = "string" | "bytes" | "float" | "double" | "int32" | "int64" | "uint64";
type FieldRule = "optional" | "oneof" | "repeated" | "packed";
type FieldEntry = readonly [number: number, type: Scalar | keyof Messages, rule?: FieldRule];

/**
 * Every message of onnx-ml.proto, IR version 14: field name, field number, type, and the rule unless it is
 * "optional". Enumerations are int32. Nested messages have the names of `proto.ts` (TypeProto.Sequence and
 * TypeProto.Optional have the same fields and share one).
 */
const schema: { readonly [Name in keyof Messages]: Readonly<Record<string, FieldEntry>> } = {
  AttributeProto: {
    name: [1, "string"],
    f: [2, "float"],
    i: [3, "int64"],
    s: [4, "bytes"],
    t: [5, "TensorProto"],
    g: [6, "GraphProto"],
    floats: [7, "float", "repeated"],
    ints: [8, "int64", "repeated"],
    strings: [9, "bytes", "repeated"],
    tensors: [10, "TensorProto", "repeated"],
    graphs: [11, "GraphProto", "repeated"],
    docString: [13, "string"],
    tp: [14, "TypeProto"],
    typeProtos: [15, "TypeProto", "repeated"],
    type: [20, "int32"],
    refAttrName: [21, "string"],
    sparseTensor: [22, "SparseTensorProto"],
    sparseTensors: [23, "SparseTensorProto", "repeated"],
  },
  ValueInfoProto: {
    name: [1, "string"],
    type: [2, "TypeProto"],
    docString: [3, "string"],
    metadataProps: [4, "StringStringEntryProto", "repeated"],
  },
  NodeProto: {
    input: [1, "string", "repeated"],
    output: [2, "string", "repeated"],
    name: [3, "string"],
    opType: [4, "string"],
    attribute: [5, "AttributeProto", "repeated"],
    docString: [6, "string"],
    domain: [7, "string"],
    overload: [8, "string"],
    metadataProps: [9, "StringStringEntryProto", "repeated"],
    deviceConfigurations: [10, "NodeDeviceConfigurationProto", "repeated"],
  },
  IntIntListEntryProto: {
    key: [1, "int64"],
    value: [2, "int64", "repeated"],
  },
  NodeDeviceConfigurationProto: {
    configurationId: [1, "string"],
    shardingSpec: [2, "ShardingSpecProto", "repeated"],
    pipelineStage: [3, "int32"],
  },
  ShardingSpecProto: {
    tensorName: [1, "string"],
    device: [2, "int64", "repeated"],
    indexToDeviceGroupMap: [3, "IntIntListEntryProto", "repeated"],
    shardedDim: [4, "ShardedDimProto", "repeated"],
  },
  ShardedDimProto: {
    axis: [1, "int64"],
    simpleSharding: [2, "SimpleShardedDimProto", "repeated"],
  },
  SimpleShardedDimProto: {
    dimValue: [1, "int64", "oneof"],
    dimParam: [2, "string", "oneof"],
    numShards: [3, "int64"],
  },
  TrainingInfoProto: {
    initialization: [1, "GraphProto"],
    algorithm: [2, "GraphProto"],
    initializationBinding: [3, "StringStringEntryProto", "repeated"],
    updateBinding: [4, "StringStringEntryProto", "repeated"],
  },
  ModelProto: {
    irVersion: [1, "int64"],
    producerName: [2, "string"],
    producerVersion: [3, "string"],
    domain: [4, "string"],
    modelVersion: [5, "int64"],
    docString: [6, "string"],
    graph: [7, "GraphProto"],
    opsetImport: [8, "OperatorSetIdProto", "repeated"],
    metadataProps: [14, "StringStringEntryProto", "repeated"],
    trainingInfo: [20, "TrainingInfoProto", "repeated"],
    functions: [25, "FunctionProto", "repeated"],
    configuration: [26, "DeviceConfigurationProto", "repeated"],
  },
  DeviceConfigurationProto: {
    name: [1, "string"],
    numDevices: [2, "int32"],
    device: [3, "string", "repeated"],
  },
  StringStringEntryProto: {
    key: [1, "string"],
    value: [2, "string"],
  },
  TensorAnnotation: {
    tensorName: [1, "string"],
    quantParameterTensorNames: [2, "StringStringEntryProto", "repeated"],
  },
  GraphProto: {
    node: [1, "NodeProto", "repeated"],
    name: [2, "string"],
    initializer: [5, "TensorProto", "repeated"],
    docString: [10, "string"],
    input: [11, "ValueInfoProto", "repeated"],
    output: [12, "ValueInfoProto", "repeated"],
    valueInfo: [13, "ValueInfoProto", "repeated"],
    quantizationAnnotation: [14, "TensorAnnotation", "repeated"],
    sparseInitializer: [15, "SparseTensorProto", "repeated"],
    metadataProps: [16, "StringStringEntryProto", "repeated"],
  },
  SegmentProto: {
    begin: [1, "int64"],
    end: [2, "int64"],
  },
  TensorProto: {
    dims: [1, "int64", "repeated"],
    dataType: [2, "int32"],
    segment: [3, "SegmentProto"],
    floatData: [4, "float", "packed"],
    int32Data: [5, "int32", "packed"],
    stringData: [6, "bytes", "repeated"],
    int64Data: [7, "int64", "packed"],
    name: [8, "string"],
    rawData: [9, "bytes"],
    doubleData: [10, "double", "packed"],
    uint64Data: [11, "uint64", "packed"],
    docString: [12, "string"],
    externalData: [13, "StringStringEntryProto", "repeated"],
    dataLocation: [14, "int32"],
    metadataProps: [16, "StringStringEntryProto", "repeated"],
  },
  SparseTensorProto: {
    values: [1, "TensorProto"],
    indices: [2, "TensorProto"],
    dims: [3, "int64", "repeated"],
  },
  DimensionProto: {
    dimValue: [1, "int64", "oneof"],
    dimParam: [2, "string", "oneof"],
    denotation: [3, "string"],
  },
  TensorShapeProto: {
    dim: [1, "DimensionProto", "repeated"],
  },
  TensorTypeProto: {
    elemType: [1, "int32"],
    shape: [2, "TensorShapeProto"],
  },
  ElementTypeProto: {
    elemType: [1, "TypeProto"],
  },
  MapTypeProto: {
    keyType: [1, "int32"],
    valueType: [2, "TypeProto"],
  },
  OpaqueTypeProto: {
    domain: [1, "string"],
    name: [2, "string"],
  },
  TypeProto: {
    tensorType: [1, "TensorTypeProto", "oneof"],
    sequenceType: [4, "ElementTypeProto", "oneof"],
    mapType: [5, "MapTypeProto", "oneof"],
    denotation: [6, "string"],
    opaqueType: [7, "OpaqueTypeProto", "oneof"],
    sparseTensorType: [8, "TensorTypeProto", "oneof"],
    optionalType: [9, "ElementTypeProto", "oneof"],
  },
  OperatorSetIdProto: {
    domain: [1, "string"],
    version: [2, "int64"],
  },
  FunctionProto: {
    name: [1, "string"],
    input: [4, "string", "repeated"],
    output: [5, "string", "repeated"],
    attribute: [6, "string", "repeated"],
    node: [7, "NodeProto", "repeated"],
    docString: [8, "string"],
    opsetImport: [9, "OperatorSetIdProto", "repeated"],
    domain: [10, "string"],
    attributeProto: [11, "AttributeProto", "repeated"],
    valueInfo: [12, "ValueInfoProto", "repeated"],
    overload: [13, "string"],
    metadataProps: [14, "StringStringEntryProto", "repeated"],
  },
};

/** A field as the decoder and the encoder use it. */
export interface Field {
  readonly number: number;
  readonly name: string;
  readonly type: Scalar | "message";
  readonly rule: FieldRule;
  /** 0 varint, 1 64 bits, 2 length-delimited, 5 32 bits; for a repeated field, that of one element */
  readonly wireType: number;
  /** The bit of the field in `presentFields`. */
  readonly bit: number;
  /** The message type of a field of type "message". */
  readonly message?: MessageType;
}

/** A message type of the schema. `fields` in the order of their numbers. */
export interface MessageType {
  readonly name: keyof Messages;
  readonly fields: readonly Field[];
  readonly byNumber: ReadonlyMap<number, Field>;
}

/** A decoded message without its static type. */
export type MessageFields = Record<string, unknown> & proto.Message;

const wireTypes: Record<Scalar, number> = { string: 2, bytes: 2, float: 5, double: 1, int32: 0, int64: 0, uint64: 0 };
const scalarDefaults: Record<Scalar, unknown> = {
  string: "",
  bytes: new Uint8Array(0),
  float: 0,
  double: 0,
  int32: 0,
  int64: Long.ZERO,
  uint64: Long.UZERO,
};

const isScalar = (type: string): type is Scalar => Object.hasOwn(wireTypes, type);

function compile(): ReadonlyMap<keyof Messages, MessageType> {
  const names = Object.keys(schema) as (keyof Messages)[];
  const types = new Map(
    names.map((name) => [name, { name, fields: [] as Field[], byNumber: new Map<number, Field>() }]),
  );
  for (const [name, type] of types) {
    for (const [bit, [fieldName, [number, of, rule = "optional"]]] of Object.entries(schema[name]).entries()) {
      const field: Field = isScalar(of)
        ? { number, name: fieldName, type: of, rule, wireType: wireTypes[of], bit }
        : { number, name: fieldName, type: "message", rule, wireType: 2, bit, message: types.get(of)! };
      type.fields.push(field);
      type.byNumber.set(number, field);
    }
  }
  return types;
}

const messageTypes = compile();

/** The compiled message type `name`. */
export function messageType(name: keyof Messages): MessageType {
  return messageTypes.get(name)!;
}

/** Whether a field holds an array. */
export function isRepeated(field: Field): boolean {
  return field.rule === "repeated" || field.rule === "packed";
}

/** The value of an optional scalar field that the file does not carry. */
function scalarDefault(type: Scalar | "message"): unknown {
  return type === "message" ? null : scalarDefaults[type];
}

/** A message with defaults for all fields: empty arrays, null messages. Fields of a oneof are left out. */
export function emptyMessage(type: MessageType): MessageFields {
  const message: MessageFields = {};
  for (const field of type.fields) {
    if (isRepeated(field)) message[field.name] = [];
    else if (field.rule !== "oneof") message[field.name] = scalarDefault(field.type);
  }
  return message;
}

/**
 * Makes a message with the given fields and defaults for all others:
 * `createMessage("NodeProto", { opType: "MatMul", input: ["a", "b"], output: ["y"] })`.
 */
export function createMessage<Name extends keyof Messages>(
  name: Name,
  fields: Partial<Messages[Name]> = {},
): Messages[Name] {
  return Object.assign(emptyMessage(messageType(name)) as object, fields) as Messages[Name];
}
