import type { Report } from "./report.ts";

const halfPrecision = "half precision, ";

/** The page of the largest relative error of each check on each backend, from reports by the names of their columns. */
export function errorTable(columns: Readonly<Record<string, Report>>): string {
  const full = Object.entries(columns).filter(([name]) => !name.endsWith("half precision"));
  const compared = Object.keys(full[0]![1].errors).filter((check) => full.some(([, { errors }]) => errors[check]! > 0));
  const rows = compared.map((check) => [check, ...full.map(([, { errors }]) => rounded(errors[check]))]);
  const half = Object.values(columns).flatMap(({ errors }) =>
    Object.entries(errors).filter(([check]) => check.startsWith(halfPrecision)),
  );
  return `# Differences of each backend

Written by \`npm run backends -w @favor/tfjs\`, which runs that package's tests of every backend. Each number is the largest
max |a - b| / max |b| of an output a and the same from \`@favor/core\` in float64, b; for the causal kernel, of its gradients too.
webgl and webgpu ran in software (SwiftShader). Checks that ask for equal bits, or that compare gradients with differences,
are not listed. Inputs have standard deviation 0.4 if nothing else is said.

${table(["check", ...full.map(([name]) => name)], rows)}

WebGL with half-precision textures, 11 bits, where the limit is 2e-2:

${table(
  ["check", "webgl, Chromium"],
  half.map(([check, error]) => [check.slice(halfPrecision.length), rounded(error)]),
)}
`;
}

function rounded(error: number | undefined): string {
  return error === undefined ? "" : error.toExponential(1);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = head.map((_, column) => (column === 0 ? "---" : "---:"));
  return [head, rule, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}
