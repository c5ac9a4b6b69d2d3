/** An Einsum equation with one label per axis. */
export interface EinsumEquation {
  readonly inputs: readonly string[];
  readonly output: string;
}

/** The axes that an ellipsis stands for are labelled by digits, 0 for the last of them. */
const mostEllipsisAxes = 10;

const axes = (span: number): string => Array.from({ length: span }, (_, i) => span - 1 - i).join("");

/**
 * Parses `bhid,bhjd->bhij`, or the implicit form.
 *
 * @param ranks ranks of the operands, which tell how many axes an ellipsis stands for
 * @returns undefined for repeated labels, an ellipsis over axes of unknown number, and what is malformed
 */
export function parseEinsum(equation: string, ranks: readonly (number | undefined)[] = []): EinsumEquation | undefined {
  const text = equation.replaceAll(" ", "");
  const [left, right, ...rest] = text.split("->");
  if (left === undefined || rest.length > 0) return undefined;
  const spans = left.split(",").map((term, operand) => {
    const letters = term.replace("...", "");
    return letters === term ? 0 : (ranks[operand] ?? Number.NaN) - letters.length;
  });
  if (!spans.every((span) => span >= 0 && span <= mostEllipsisAxes)) return undefined;
  const inputs = left.split(",").map((term, operand) => term.replace("...", axes(spans[operand]!)));
  if (inputs.some((labels) => !/^[A-Za-z0-9]*$/.test(labels) || new Set(labels).size < labels.length)) return undefined;
  if (/\d/.test(text) || inputs.join("") === "") return undefined;
  const all = axes(Math.max(...spans));
  if (right !== undefined) {
    const output = right.replace("...", all);
    return /^[A-Za-z0-9]*$/.test(output) ? { inputs, output } : undefined;
  }
  const counts = new Map<string, number>();
  for (const label of inputs.join("")) counts.set(label, (counts.get(label) ?? 0) + 1);
  const once = [...counts].filter(([label, count]) => count === 1 && !all.includes(label)).map(([label]) => label);
  return { inputs, output: all + once.toSorted().join("") };
}
