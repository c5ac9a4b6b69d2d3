export { attentionComplexity, crossoverLength } from "./complexity.ts";
export type { AttentionMethod, Complexity, ComplexityOptions } from "./complexity.ts";
export { theorem1, theorem1Failure } from "./theorem1.ts";
export type { UniformBound, UniformBoundOptions } from "./theorem1.ts";
export { kernelVariance } from "./variance.ts";
