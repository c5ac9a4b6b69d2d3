import { OperatorSet } from "@favor/onnx/semantics";
import type { Operator, OperatorTable } from "../operator-call.ts";
import { activationOperators } from "./activations.ts";
import { arithmeticOperators } from "./arithmetic.ts";
import { attentionOperators } from "./attention.ts";
import { castingOperators } from "./casting.ts";
import { controlFlowOperators } from "./control-flow.ts";
import { convolutionOperators } from "./convolution.ts";
import { gatheringOperators } from "./gathering.ts";
import { generationOperators } from "./generation.ts";
import { layoutOperators } from "./layout.ts";
import { logicOperators } from "./logic.ts";
import { microsoftOperators } from "./microsoft.ts";
import { normalisationOperators } from "./normalisation.ts";
import { orderingOperators } from "./ordering.ts";
import { microsoftProductOperators, productOperators } from "./product.ts";
import { quantisationOperators } from "./quantisation.ts";
import { reductionOperators } from "./reduction.ts";
import { scatteringOperators } from "./scattering.ts";
import { shapeOperators } from "./shape.ts";

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
  ...scatteringOperators,
  ...shapeOperators,
};

const microsoft: OperatorTable = {
  ...microsoftOperators,
  ...microsoftProductOperators,
};

const operators = new OperatorSet<Operator>({ "": standard, "com.microsoft": microsoft });

/** The operator of that domain ("" and "ai.onnx" are the standard one) and type, or undefined. */
export function findOperator(domain: string, opType: string): Operator | undefined {
  return operators.find(domain, opType);
}

/**
 * `domain:opType` of every operator that runs on tfjs, sorted; the standard domain is "". What is computed from
 * constants, shapes and integers alone may be of any operator that `@favor/onnx` evaluates.
 */
export function supportedOperators(): string[] {
  return operators.names();
}
