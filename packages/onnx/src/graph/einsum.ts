/** An Einsum equation with one label per axis; no ellipsis. */
export interface EinsumEquation {
  readonly inputs: readonly string[];
  readonly output: string;
}

/** Parses `bhid,bhjd->bhij`, or the implicit form; undefined for ellipses, repeated labels and what is malformed. */
export function parseEinsum(equation: string): EinsumEquation | undefined {
  const text = equation.replaceAll(" ", "");
  const [left, right, ...rest] = text.split("->");
  if (left === undefined || rest.length > 0 || !/^[A-Za-z,]+$/.test(left)) return undefined;
  const inputs = left.split(",");
  if (inputs.some((labels) => new Set(labels).size < labels.length)) return undefined;
  if (right !== undefined) return /^[A-Za-z]*$/.test(right) ? { inputs, output: right } : undefined;
  const counts = new Map<string, number>();
  for (const label of inputs.join("")) counts.set(label, (counts.get(label) ?? 0) + 1);
  const output = [...counts].filter(([, count]) => count === 1).map(([label]) => label);
  return { inputs, output: output.toSorted().join("") };
}
