import { labelsOfEquation } from "../semantics/equation.ts";
import { giveUp, ifKnown } from "./unknown.ts";

/** An Einsum equation with one label per axis. */
export interface EinsumEquation {
  readonly inputs: readonly string[];
  readonly output: string;
}

/**
 * Parses `bhid,bhjd->bhij`, or the implicit form, with one character per label. Digits label the axes that an ellipsis
 * stands for, 0 for the last of them.
 *
 * @param ranks ranks of the operands, which say how many axes an ellipsis stands for
 * @returns undefined for a malformed equation, repeated labels, or an ellipsis over more than ten axes or unknown ones
 */
export function parseEinsum(equation: string, ranks: readonly (number | undefined)[] = []): EinsumEquation | undefined {
  const labels = ifKnown(() => labelsOfEquation(equation, ranks, giveUp));
  if (labels === undefined) return undefined;
  const { terms, output } = labels;
  const isRepeated = terms.some((term) => new Set(term).size < term.length);
  if (isRepeated || terms.flat().length === 0 || terms.flat().some((label) => label.length > 1)) return undefined;
  return { inputs: terms.map((term) => term.join("")), output: output.join("") };
}
