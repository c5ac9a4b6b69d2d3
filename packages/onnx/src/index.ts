export { memoryRange, readRange, subRange } from "./model/byte-range.ts";
export type { ByteRange, TensorSource } from "./model/byte-range.ts";
export { checkModel } from "./model/check.ts";
export { decodeMessage, decodeModel } from "./model/decode.ts";
export { elementType } from "./model/element-types.ts";
export type { ElementType, TypedField } from "./model/element-types.ts";
export { encodeMessage, encodeModel, encodeModelPieces } from "./model/encode.ts";
export { ExternalDataError, ModelFileError, ModelFormatError, OnnxError, TensorError } from "./model/errors.ts";
export type { OnnxErrorCode } from "./model/errors.ts";
export { attachExternalData, externalDataFromMemory } from "./model/external-data.ts";
export type { ExternalDataFiles, ExternalDataLoader } from "./model/external-data.ts";
export { fromOnnxProto, toOnnxProto } from "./model/interop.ts";
export type { OnnxProtoClass } from "./model/interop.ts";
export { defaultLimits } from "./model/limits.ts";
export type { DecodeLimits } from "./model/limits.ts";
export { AttributeType, DataType, presentFields, unknownFields } from "./model/proto.ts";
export type {
  AttributeProto,
  DeviceConfigurationProto,
  DimensionProto,
  ElementTypeProto,
  FunctionProto,
  GraphProto,
  IntIntListEntryProto,
  MapTypeProto,
  Message,
  ModelProto,
  NodeDeviceConfigurationProto,
  NodeProto,
  OpaqueTypeProto,
  OperatorSetIdProto,
  SegmentProto,
  ShardedDimProto,
  ShardingSpecProto,
  SimpleShardedDimProto,
  SparseTensorProto,
  StringStringEntryProto,
  TensorAnnotation,
  TensorProto,
  TensorShapeProto,
  TensorTypeProto,
  TrainingInfoProto,
  TypeProto,
  ValueInfoProto,
} from "./model/proto.ts";
export { createMessage, newestIrVersion } from "./model/schema.ts";
export type { Messages } from "./model/schema.ts";
export { checkTensor, rawLength, tensorShape } from "./model/tensor-shape.ts";
export { makeTensor, tensorStrings, tensorValues } from "./model/tensor.ts";
export type { TensorArray, TensorValues } from "./model/tensor.ts";
export { modelGraphs, modelTensors } from "./model/walk.ts";
