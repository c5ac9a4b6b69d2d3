import type { Outcome } from "./outcome.ts";

type Outcomes = ReadonlyMap<string, ReadonlyMap<string, Outcome>>;

/** A page of Markdown: counts by backend, and what is refused with the number of tests. */
export function pageOf(outcomes: Outcomes, versions: { readonly onnx: string; readonly tfjs: string }): string {
  const rows = [...outcomes].map(([backend, found]) => {
    const count = (result: Outcome["result"]): number =>
      [...found.values()].filter((outcome) => outcome.result === result).length;
    const cells = [backend, found.size, count("right"), count("refused"), count("wrong"), count("no numbers")];
    return `| ${cells.join(" | ")} |`;
  });
  const [first] = outcomes.values();
  const refused = [...first!.values()].filter((outcome) => outcome.result === "refused");
  const absent = refused.filter(({ reason }) => reason.endsWith(notThere));
  const forms = refused.filter((outcome) => !absent.includes(outcome));
  return `# ONNX's own tests of operators

The tests of single operators of onnx ${versions.onnx} (\`onnx.backend.test\`), on \`@favor/onnx-tfjs\` with tfjs ${versions.tfjs}.

- Expected values are those of the tests, to their own tolerances, but to no less than 1e-4 |value| + 1e-5, for all is
  computed in float32 (2^-8 |value| for float16, 2^-5 |value| for bfloat16).
- "Refused" is an \`UnsupportedOperatorError\` that names the node and its operator. "Wrong" is any other number, and any
  other error.
- Not run are tests of strings, sequences, optional values and float8e8m0, which cannot be fed.

\`npm run node-tests -w @favor/conformance -- --page docs/measurements/onnx-node-tests.md\`

| backend | tests | right | refused by name | wrong | not run: no numbers |
| ------- | ----- | ----- | --------------- | ----- | ------------------- |
${rows.join("\n")}

## Operators refused

With the number of tests that meet them:

${counted(absent.map(({ operator }) => named(operator))).join(", ")}.

## Forms of operators refused

| operator | form | tests |
| -------- | ---- | ----- |
${countedRows(forms.map(({ operator, reason }) => `${named(operator)} | ${reason}`)).join("\n")}
`;
}

/** How the reason ends where there is no such operator at all. */
const notThere = "it does not run on tfjs";

/** Without the colon of the standard domain. */
const named = (operator: string): string => `\`${operator.replace(/^:/, "")}\``;

/** Each item once, in alphabetical order, with how often it is there. */
function counts(items: readonly string[]): [string, number][] {
  const found = new Map<string, number>();
  for (const item of items) found.set(item, (found.get(item) ?? 0) + 1);
  return [...found].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

const counted = (items: readonly string[]): string[] => counts(items).map(([item, count]) => `${item} ${count}`);

const countedRows = (items: readonly string[]): string[] =>
  counts(items).map(([item, count]) => `| ${item} | ${count} |`);
