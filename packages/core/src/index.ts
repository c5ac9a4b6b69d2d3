// In the order in which data flows. Calibration, theory and the attentions to compare with are entry points of their own.
export { ArgumentError, FavorError } from "./errors.ts";
export type { FavorErrorOptions } from "./errors.ts";
export { requireOptions } from "./options.ts";
export type { OptionNames } from "./options.ts";

export { philox4x32 } from "./random/philox.ts";
export { RandomStream, streamPurpose } from "./random/stream.ts";
export type { StreamAddress } from "./random/stream.ts";

export type { ProjectionDescription, ProjectionKind } from "./projections/description.ts";
export { createProjection, drawProjection } from "./projections/projection.ts";
export type { Projection } from "./projections/projection.ts";

export type { HeadCoordinates } from "./features/coordinates.ts";
export { createFeatureMap, exponentialForm } from "./features/create.ts";
export { optimalExponent } from "./features/dense-exponential.ts";
export { checkDescription, descriptionVersion } from "./features/description.ts";
export type {
  CalibratedDescription,
  DenseExponentialDescription,
  EluDescription,
  FeatureMapDescription,
  FeatureMapKind,
  GeneralizedDescription,
  HyperbolicDescription,
  LandmarkDescription,
  LinearExponentialDescription,
  OprfDescription,
  PositiveDescription,
  SquaredReluDescription,
  TrigonometricDescription,
} from "./features/description.ts";
export { elementwiseFunctions } from "./features/elementwise.ts";
export type { Elementwise, ElementwiseFunction } from "./features/elementwise.ts";
export { coreMatrix } from "./features/exponential-form.ts";
export type { ExponentialForm } from "./features/exponential-form.ts";
export type { FeatureMap, KeyStabilizerOptions, StabilizedFeatures } from "./features/feature-map.ts";
export { generalizedFeatureMap } from "./features/generalized.ts";
export { rowFactorExponents } from "./features/row-factor-name.ts";
export type { RowFactorName } from "./features/row-factor-name.ts";
export { withRowFactors } from "./features/row-factors.ts";
export type { RowFactor, RowFactors } from "./features/row-factors.ts";
export { linearExponential } from "./features/linear-exponential.ts";
export { optimalOprf } from "./features/oprf.ts";
export { trigonometricForm } from "./features/trigonometric.ts";
export type { TrigonometricForm } from "./features/trigonometric.ts";

export { exactAttention } from "./attention/exact.ts";
export type { ExactAttentionOptions } from "./attention/head-shape.ts";
export { generalizedAttention } from "./attention/generalized.ts";
export type { GeneralizedAttentionOptions } from "./attention/generalized.ts";
export { favorAttention } from "./attention/bidirectional.ts";
export type { FavorAttentionOptions } from "./attention/bidirectional.ts";
export { favorCausalAttention, startFavor } from "./attention/causal-favor.ts";
export type { FavorCausalOptions } from "./attention/causal-favor.ts";
export { favorAlibiAttention } from "./attention/favor-alibi.ts";
export type { FavorAlibiOptions } from "./attention/favor-alibi.ts";
export { alibiLinearAttention } from "./attention/alibi.ts";
export type { AlibiAttentionOptions } from "./attention/alibi.ts";
export type { LinearInput, LinearShape } from "./attention/linear-shape.ts";
export { linearAttention } from "./attention/linear.ts";
export { linearAttentionBackward } from "./attention/linear-backward.ts";
export type { LinearGradients } from "./attention/linear-backward.ts";
export { causalLinearAttention } from "./attention/causal.ts";
export type { CausalOptions } from "./attention/causal.ts";
export { causalLinearAttentionBackward } from "./attention/causal-backward.ts";
export { startCausal } from "./attention/causal-state.ts";
export type { CausalState } from "./attention/causal-state.ts";
export { stepCausal } from "./attention/streaming.ts";
export type { StreamingToken } from "./attention/streaming.ts";
export type { ExactKeysOptions } from "./attention/hybrid/exact-keys.ts";
export { hybridAttention } from "./attention/hybrid/reference.ts";
export type { HybridAttentionOptions } from "./attention/hybrid/reference.ts";
export { averagedQueries, keyDeviations } from "./attention/hybrid/selector.ts";
export type {
  AveragedQueriesOptions,
  BlockCandidates,
  BlockSelector,
  KeyDeviationsOptions,
  SelectorKeys,
  SelectorQueries,
} from "./attention/hybrid/selector.ts";
export { startHybrid, stepHybrid } from "./attention/hybrid/streaming.ts";
export type { HybridState, HybridStreamOptions, HybridToken } from "./attention/hybrid/streaming.ts";
export type { AttentionShape, MaskOptions } from "./attention/tiled/rows.ts";
export { elementwiseFeatures32, exponentialFeatures32, trigonometricFeatures32 } from "./attention/tiled/features.ts";
export type { FeatureMap32 } from "./attention/tiled/features.ts";
export type { AttentionGradients32 } from "./attention/tiled/gradient-rows.ts";
export { exactAttentionBackward32 } from "./attention/tiled/exact-backward.ts";
export { favorAttentionBackward32 } from "./attention/tiled/favor-backward.ts";
export { favorAttention32 } from "./attention/tiled/favor.ts";
export { exactAttention32 } from "./attention/tiled/exact.ts";
export type { ExactOptions32 } from "./attention/tiled/exact.ts";
export { hybridAttentionBackward32 } from "./attention/tiled/hybrid/hybrid-backward.ts";
export { hybridAttention32 } from "./attention/tiled/hybrid/hybrid.ts";
export type { HybridOptions32 } from "./attention/tiled/hybrid/workspace.ts";

export type { BlockKernels, KernelKind, Product } from "./kernels/block-kernels.ts";
export { createKernels } from "./kernels/create.ts";
export type { KernelOptions } from "./kernels/create.ts";

export { createWorkers } from "./threads/workers.ts";
export type { AttentionWorkers, WorkerOptions } from "./threads/workers.ts";
