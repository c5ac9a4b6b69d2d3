export { memoryRange, readRange } from "./model/byte-range.ts";
export type { ByteRange, TensorSource } from "./model/byte-range.ts";
export { checkModel } from "./model/check.ts";
export { decodeMessage, decodeModel } from "./model/decode.ts";
export { elementType } from "./model/element-types.ts";
export type { ElementType, TypedField } from "./model/element-types.ts";
export { encodeMessage, encodeModel, encodeModelPieces } from "./model/encode.ts";
export { attachExternalData, externalDataFromMemory } from "./model/external-data.ts";
export type { ExternalDataLoader } from "./model/external-data.ts";
export { fromOnnxProto, toOnnxProto } from "./model/interop.ts";
export type { OnnxProtoClass } from "./model/interop.ts";
export { ExternalDataError, ModelFileError, ModelFormatError, OnnxError, TensorError } from "./model/errors.ts";
export type { OnnxErrorCode } from "./model/errors.ts";
export { defaultLimits } from "./model/limits.ts";
export type { DecodeLimits } from "./model/limits.ts";
export * from "./model/proto.ts";
export { createMessage, newestIrVersion } from "./model/schema.ts";
export type { Messages } from "./model/schema.ts";
export { makeTensor, tensorStrings, tensorValues } from "./model/tensor.ts";
export type { TensorArray, TensorValues } from "./model/tensor.ts";
export { checkTensor, tensorShape } from "./model/tensor-shape.ts";
export { modelGraphs, modelTensors } from "./model/walk.ts";
export { convertAttention, inspectAttention } from "./convert.ts";
export type { ConvertedSite, Conversion } from "./convert.ts";
export { featureChoices } from "./options.ts";
export type { ConvertOptions, FeatureChoice } from "./options.ts";
export { statefulInputs } from "./favor/state.ts";
export type { StatefulInputs, StateInput } from "./favor/state.ts";
export { GraphError } from "./graph/errors.ts";
export type { GraphErrorCode } from "./graph/errors.ts";
export type { SiteReport } from "./report.ts";
export { tapMoments, tapSamples } from "./tap.ts";
export type { MomentTap, SampleTap, TappedModel } from "./tap.ts";
export { defaultEvaluationLimits } from "./evaluate/call.ts";
export type { EvaluationLimits } from "./evaluate/call.ts";
export {
  EvaluationError,
  EvaluationLimitError,
  MissingValueError,
  UnsupportedOperatorError,
} from "./evaluate/errors.ts";
export { evaluateGraph, evaluateNode } from "./evaluate/graph.ts";
export type { EvaluationOptions } from "./evaluate/graph.ts";
export { supportedOperators } from "./evaluate/registry.ts";
export { decodeTensor, encodeTensor, tensorOf } from "./evaluate/tensor.ts";
export type { Tensor, TensorData } from "./evaluate/tensor.ts";
export { growModel } from "./positions/grow-model.ts";
export type { GrowOptions } from "./positions/grow-model.ts";
export { CheckpointError } from "./checkpoint/errors.ts";
export type { CheckpointErrorCode } from "./checkpoint/errors.ts";
export { readPyTorch } from "./checkpoint/pytorch.ts";
export { readSafetensors } from "./checkpoint/safetensors.ts";
export { readShards } from "./checkpoint/shards.ts";
export type { CheckpointTensor, StateDict } from "./checkpoint/state-dict.ts";
export { buildModel, checkpointTask } from "./builders/build-model.ts";
export type { BuildOptions } from "./builders/build-model.ts";
export { modelTypes } from "./builders/registry.ts";
export { checkpointTasks } from "./builders/task.ts";
export type { CheckpointTask } from "./builders/task.ts";
