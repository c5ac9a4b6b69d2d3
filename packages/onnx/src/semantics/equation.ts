import { shown, type NodeCall } from "./node-call.ts";

/** An Einstein sum over labelled axes. */
export interface Equation {
  /** Labels of each operand's axes: letters, and "1", "0" for what an ellipsis stands for, counted from its last axis. */
  readonly terms: readonly (readonly string[])[];
  readonly output: readonly string[];
  /** Size of every label; axes of 1 broadcast. */
  readonly sizes: ReadonlyMap<string, number>;
}

/** The equation of Einsum: any number of operands, repeated labels, ellipses. */
export function equationOf(call: NodeCall<unknown>, operands: readonly (readonly number[])[]): Equation {
  const equation = call.string("equation", "").replaceAll(" ", "");
  const [left = "", right] = equation.split("->");
  const written = left.split(",");
  if (written.length !== operands.length) call.fail(`equation "${equation}" has ${written.length} terms`);
  const terms = written.map((term, i) => {
    const dims = operands[i]!;
    const labels = labelsOf(call, term, (letters) => dims.length - letters);
    if (labels.length !== dims.length) call.fail(`"${term}" does not label the shape ${shown(dims)}`);
    return labels;
  });
  const sizes = new Map<string, number>();
  for (const [i, labels] of terms.entries()) {
    for (const [axis, label] of labels.entries()) {
      const dim = operands[i]![axis]!;
      const known = sizes.get(label) ?? 1;
      if (known !== 1 && dim !== 1 && known !== dim) call.fail(`label ${label} has the sizes ${known} and ${dim}`);
      sizes.set(label, known === 1 ? dim : known);
    }
  }
  const span = [...sizes.keys()].filter((label) => /\d/.test(label)).length;
  const output =
    right === undefined ? [...ellipsis(span), ...lettersThatOccurOnce(written)] : labelsOf(call, right, () => span);
  for (const label of output) if (!sizes.has(label)) call.fail(`output label ${label} is in no operand`);
  return { terms, output, sizes };
}

/** @param spanOf axes that an ellipsis stands for, beside so many letters */
function labelsOf(call: NodeCall<unknown>, term: string, spanOf: (letters: number) => number): string[] {
  const [before = "", after] = term.split("...");
  const letters = (part: string): string[] => {
    if (!/^[A-Za-z]*$/.test(part)) call.fail(`equation term "${term}" is malformed`);
    return part.split("");
  };
  if (after === undefined) return letters(before);
  const span = spanOf(before.length + after.length);
  if (span < 0) call.fail(`equation term "${term}" has more labels than its operand has dimensions`);
  return [...letters(before), ...ellipsis(span), ...letters(after)];
}

const ellipsis = (span: number): string[] => Array.from({ length: span }, (_, i) => String(span - 1 - i));

/** What the output has if no arrow says it, in alphabetical order. */
function lettersThatOccurOnce(terms: readonly string[]): string[] {
  const letters = terms.join("").replaceAll(".", "").split("");
  return letters.filter((letter) => letters.indexOf(letter) === letters.lastIndexOf(letter)).toSorted();
}
