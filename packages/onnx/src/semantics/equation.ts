import { shown, type NodeCall } from "./node-call.ts";

/** An Einstein sum over labelled axes. */
export interface Equation extends EquationLabels {
  /** Size of every label; axes of 1 broadcast. */
  readonly sizes: ReadonlyMap<string, number>;
}

/** The labels of an equation: letters, and digits for the axes of an ellipsis, counted down to "0" for the last. */
export interface EquationLabels {
  readonly terms: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/**
 * The labels of `bhid,bhjd->bhij`, or of the implicit form without an arrow.
 *
 * @param ranks ranks of the operands, which say how many axes an ellipsis stands for
 * @param fail called for a malformed equation, and if an ellipsis stands for an unknown number of axes
 */
export function labelsOfEquation(
  equation: string,
  ranks: readonly (number | undefined)[],
  fail: (found: string) => never,
): EquationLabels {
  const [left = "", right, ...more] = equation.replaceAll(" ", "").split("->");
  if (more.length > 0) fail(`equation "${equation}" has several arrows`);
  const written = left.split(",");
  let widest = 0;
  const terms = written.map((term, i) =>
    labelsOf(term, fail, (letters) => {
      const span = (ranks[i] ?? Number.NaN) - letters;
      if (!(span >= 0)) fail(`equation term "${term}" has more labels than its operand has dimensions`);
      widest = Math.max(widest, span);
      return span;
    }),
  );
  const output =
    right === undefined ? [...ellipsis(widest), ...lettersThatOccurOnce(written)] : labelsOf(right, fail, () => widest);
  return { terms, output };
}

/** The equation of Einsum: any number of operands, repeated labels, ellipses. */
export function equationOf(call: NodeCall<unknown>, operands: readonly (readonly number[])[]): Equation {
  const { terms, output } = labelsOfEquation(
    call.string("equation", ""),
    operands.map((dims) => dims.length),
    (found) => call.fail(found),
  );
  if (terms.length !== operands.length) call.fail(`its equation has ${terms.length} terms`);
  const sizes = new Map<string, number>();
  for (const [i, labels] of terms.entries()) {
    const dims = operands[i]!;
    if (labels.length !== dims.length) call.fail(`"${labels.join("")}" does not label the shape ${shown(dims)}`);
    for (const [axis, label] of labels.entries()) {
      const dim = dims[axis]!;
      const known = sizes.get(label) ?? 1;
      if (known !== 1 && dim !== 1 && known !== dim) {
        call.misfit(`label ${label} has the sizes ${known} and ${dim}`, [dim, known]);
      }
      sizes.set(label, known === 1 ? dim : known);
    }
  }
  for (const label of output) if (!sizes.has(label)) call.fail(`output label ${label} is in no operand`);
  return { terms, output, sizes };
}

/** @param spanOf how many axes an ellipsis stands for in a term with the given number of letters */
function labelsOf(term: string, fail: (found: string) => never, spanOf: (letters: number) => number): string[] {
  const [before = "", after, ...more] = term.split("...");
  const letters = (part: string): string[] => {
    if (!/^[A-Za-z]*$/.test(part)) fail(`equation term "${term}" is malformed`);
    return part.split("");
  };
  if (after === undefined) return letters(before);
  if (more.length > 0) fail(`equation term "${term}" has several ellipses`);
  return [...letters(before), ...ellipsis(spanOf(before.length + after.length)), ...letters(after)];
}

const ellipsis = (span: number): string[] => Array.from({ length: span }, (_, i) => String(span - 1 - i));

/** The labels of the output if the equation has no arrow, in alphabetical order. */
function lettersThatOccurOnce(terms: readonly string[]): string[] {
  const letters = terms.join("").replaceAll(".", "").split("");
  return letters.filter((letter) => letters.indexOf(letter) === letters.lastIndexOf(letter)).toSorted();
}
