export { fillCausalBias, fillKeyBias, keyBiasDims } from "./attention-bias.ts";
export { hiddenKeys } from "./attention-order.ts";
export type { HiddenKeys } from "./attention-order.ts";
export { convolutionSteps } from "./convolution.ts";
export type { ConvolutionStep } from "./convolution.ts";
export { equationOf, labelsOfEquation } from "./equation.ts";
export type { Equation, EquationLabels } from "./equation.ts";
export {
  depthToSpace,
  padWidths,
  permutationOf,
  sliceRanges,
  spaceToDepth,
  splitLengths,
  tileRepeats,
} from "./layout.ts";
export type { Rearrangement, SliceRange } from "./layout.ts";
export { NodeCall, describeNode, nodeFacts, shown } from "./node-call.ts";
export {
  contentOperators,
  copyingOperators,
  elementwiseOperators,
  floatProducts,
  fusedAttention,
  layoutOperators,
  matrixProducts,
  movingOperators,
  comparisons,
  orderComparisons,
  allProducts,
  quantisation,
  quantisedMatrixProducts,
  quantisedProducts,
} from "./operator-families.ts";
export type { OperatorFamily } from "./operator-families.ts";
export { OperatorSet } from "./operator-set.ts";
export {
  broadcastDims,
  checkReshape,
  expandedDims,
  flattenedDims,
  matrixProduct,
  reshapedDims,
  shapeOf,
  squeezedDims,
  unsqueezedDims,
} from "./shapes.ts";
export type { MatrixProduct } from "./shapes.ts";
