// In the order in which data flows: random numbers, projections, features, attention, then what chooses and judges them.
export { ArgumentError, FavorError } from "./errors.ts";
export type { FavorErrorOptions } from "./errors.ts";

export { philox4x32 } from "./random/philox.ts";
export { RandomStream, streamPurpose } from "./random/stream.ts";
export type { StreamAddress } from "./random/stream.ts";

export type { ProjectionDescription, ProjectionKind } from "./projections/description.ts";
export { createProjection, drawProjection } from "./projections/projection.ts";
export type { Projection } from "./projections/projection.ts";

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
export { linearExponential } from "./features/linear-exponential.ts";
export { optimalOprf } from "./features/oprf.ts";
export { trigonometricForm } from "./features/trigonometric.ts";
export type { TrigonometricForm } from "./features/trigonometric.ts";

export { exactAttention } from "./attention/exact.ts";
export type { ExactAttentionOptions } from "./attention/head-shape.ts";
export { favorAttention } from "./attention/bidirectional.ts";
export type { FavorAttentionOptions } from "./attention/bidirectional.ts";
export { favorCausalAttention, startFavor } from "./attention/causal-favor.ts";
export type { FavorCausalOptions } from "./attention/causal-favor.ts";
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
export type { AttentionShape, MaskOptions } from "./attention/tiled/rows.ts";
export { elementwiseFeatures32, exponentialFeatures32, trigonometricFeatures32 } from "./attention/tiled/features.ts";
export type { FeatureMap32 } from "./attention/tiled/features.ts";
export type { AttentionGradients32 } from "./attention/tiled/gradient-rows.ts";
export { exactAttentionBackward32 } from "./attention/tiled/exact-backward.ts";
export { favorAttentionBackward32 } from "./attention/tiled/favor-backward.ts";
export { favorAttention32 } from "./attention/tiled/favor.ts";
export { exactAttention32 } from "./attention/tiled/exact.ts";
export type { ExactOptions32 } from "./attention/tiled/exact.ts";

export type { BlockKernels, KernelKind } from "./kernels/block-kernels.ts";
export { createKernels } from "./kernels/create.ts";
export type { KernelOptions } from "./kernels/create.ts";

export { createWorkers } from "./threads/workers.ts";
export type { AttentionWorkers, WorkerOptions } from "./threads/workers.ts";

export { balance } from "./calibration/balance.ts";
export type { Balance } from "./calibration/balance.ts";
export { calibrate } from "./calibration/calibrate.ts";
export type { CalibrateOptions } from "./calibration/calibrate.ts";
export { fitFeatureCore } from "./calibration/fit-feature-core.ts";
export type { FitFeatureCoreOptions } from "./calibration/fit-feature-core.ts";
export { kMeans } from "./calibration/k-means.ts";
export type { KMeansOptions } from "./calibration/k-means.ts";
export { fitLandmarks } from "./calibration/landmarks.ts";
export type { FitLandmarksOptions } from "./calibration/landmarks.ts";
export { MomentAccumulator } from "./calibration/moments.ts";
export type { HeadMoments, VectorSums } from "./calibration/moments.ts";
export { fitCore } from "./calibration/non-negative-core.ts";
export type { CoreFit, CoreFitOptions, CoreSystem } from "./calibration/non-negative-core.ts";
export { refineLandmarks } from "./calibration/refine-landmarks.ts";
export type { RefineLandmarksOptions } from "./calibration/refine-landmarks.ts";
export type { AttentionInput } from "./calibration/sample-attention.ts";
export { selectFeatureMap, selectSeed } from "./calibration/select.ts";
export type { Selection } from "./calibration/select.ts";

export { lshAttention, lshBuckets, lshSubsets, sharedKeys } from "./comparison/lsh.ts";
export type { LshAttentionOptions, LshHashing } from "./comparison/lsh.ts";
export { sparseAttention, sparseSubset } from "./comparison/sparse.ts";
export type { SparseAttentionOptions, SparsePattern } from "./comparison/sparse.ts";

export { attentionError, exactSample, featuresForError } from "./theory/attention-error.ts";
export type {
  AttentionError,
  ExactSample,
  FeaturesForError,
  FeaturesForErrorOptions,
} from "./theory/attention-error.ts";
export { attentionComplexity, crossoverLength } from "./theory/complexity.ts";
export type { AttentionMethod, Complexity, ComplexityOptions } from "./theory/complexity.ts";
export { theorem1, theorem1Failure } from "./theory/theorem1.ts";
export type { UniformBound, UniformBoundOptions } from "./theory/theorem1.ts";
export { kernelVariance } from "./theory/variance.ts";

export { orthogonalFactor } from "./linear-algebra/householder.ts";
export { symmetricEigen, symmetricFunction } from "./linear-algebra/symmetric-eigen.ts";
export type { SymmetricEigen } from "./linear-algebra/symmetric-eigen.ts";
