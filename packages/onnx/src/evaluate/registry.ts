import { OperatorSet } from "../semantics/operator-set.ts";
import type { Operator, OperatorTable } from "./call.ts";
import { activationOperators } from "./operators/activations.ts";
import { arithmeticOperators } from "./operators/arithmetic.ts";
import { attentionOperators } from "./operators/attention.ts";
import { castingOperators } from "./operators/casting.ts";
import { controlFlowOperators } from "./operators/control-flow.ts";
import { convolutionOperators } from "./operators/convolution.ts";
import { gatheringOperators } from "./operators/gathering.ts";
import { generationOperators } from "./operators/generation.ts";
import { layoutOperators } from "./operators/layout.ts";
import { logicOperators } from "./operators/logic.ts";
import { microsoftOperators } from "./operators/microsoft.ts";
import { normalisationOperators } from "./operators/normalisation.ts";
import { orderingOperators } from "./operators/ordering.ts";
import { productOperators } from "./operators/product.ts";
import { quantisationOperators } from "./operators/quantisation.ts";
import { reductionOperators } from "./operators/reduction.ts";
import { resizingOperators } from "./operators/resizing.ts";
import { scatteringOperators } from "./operators/scattering.ts";
import { shapeOperators } from "./operators/shape.ts";

const standard: OperatorTable = {
  ...activationOperators,
  ...arithmeticOperators,
  ...attentionOperators,
  ...castingOperators,
  ...controlFlowOperators,
  ...convolutionOperators,
  ...gatheringOperators,
  ...generationOperators,
  ...layoutOperators,
  ...logicOperators,
  ...normalisationOperators,
  ...orderingOperators,
  ...productOperators,
  ...quantisationOperators,
  ...reductionOperators,
  ...resizingOperators,
  ...scatteringOperators,
  ...shapeOperators,
};

const operators = new OperatorSet<Operator>({ "": standard, "com.microsoft": microsoftOperators });

/** The operator of that domain ("" and "ai.onnx" are the standard one) and type, or undefined. */
export function findOperator(domain: string, opType: string): Operator | undefined {
  return operators.find(domain, opType);
}

/** `domain:opType` of every operator that the evaluator knows, sorted. */
export function supportedOperators(): string[] {
  return operators.names();
}
