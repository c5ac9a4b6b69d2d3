/**
 * Writes random small checkpoints of every supported model type with transformers, in all the forms in which people have
 * them, and compares the graphs that Favor builds with what transformers computes.
 *
 *   npm run build && npm run transformers -w @favor/conformance -- --seed 1 --to 300
 *
 * --generation 4|5   with one generation of transformers only; default: both
 * --from, --to       the numbers of the cases
 * --case 17          one case, with its folder kept and its error in full
 * --verbose          prints every case
 * --environments DIR where the virtual environments are, or are made; default: .venv of the repository
 *
 * Exit code 1 if a graph computes something else. Refusals are counted by their reason: they are no errors, but each
 * should be one that transformers has no answer to either, or a head that Favor does not build.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { compare } from "./compare.ts";
import type { Outcome } from "./compare.ts";
import { defaultEnvironments } from "../python-environment.ts";
import { makeCheckpoints, pythonOf } from "./python.ts";
import type { Generation, MadeCase } from "./python.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "0" },
    from: { type: "string", default: "0" },
    to: { type: "string", default: "300" },
    case: { type: "string" },
    generation: { type: "string" },
    verbose: { type: "boolean", default: false },
    environments: { type: "string", default: defaultEnvironments },
  },
});

const [from, to] =
  values.case === undefined ? [Number(values.from), Number(values.to)] : [Number(values.case), Number(values.case) + 1];
const generations = values.generation === undefined ? ([4, 5] as const) : [Number(values.generation) as Generation];
let wrong = 0;
for (const generation of generations) wrong += await compareGeneration(generation);
process.exitCode = wrong > 0 ? 1 : 0;

/** @returns how many cases are wrong */
async function compareGeneration(generation: Generation): Promise<number> {
  const out = mkdtempSync(join(tmpdir(), `favor-transformers-${generation}-`));
  const counts = new Map<string, number>();
  const reasons = new Map<string, number>();
  const notes = new Map<string, number>();
  try {
    const python = pythonOf(generation, values.environments);
    for await (const made of makeCheckpoints(python, { seed: Number(values.seed), from, to, out })) {
      const folder = join(out, String(made.index));
      const outcome = await compare(folder, made.index % 10 === 0);
      counts.set(outcome.result, (counts.get(outcome.result) ?? 0) + 1);
      for (const note of outcome.notes) notes.set(note, (notes.get(note) ?? 0) + 1);
      if (outcome.result === "refused") {
        const head = made.class.replace(/^.*(?=Model|For|LMHead)/, "");
        const reason = `${head}, transformers: ${made.reloaded}: ${outcome.what.slice(0, 110)}`;
        reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      }
      if (outcome.result === "wrong" || values.verbose || values.case !== undefined) print(generation, made, outcome);
      if (values.case === undefined) rmSync(folder, { recursive: true });
      else console.log(folder);
    }
  } finally {
    if (values.case === undefined) rmSync(out, { recursive: true, force: true });
  }
  const found = [...counts].toSorted(([, a], [, b]) => b - a).map(([result, count]) => `${count} ${result}`);
  console.log(`transformers ${generation}: ${to - from} checkpoints, ${found.join(", ")}.`);
  for (const [reason, count] of [...reasons].toSorted()) console.log(`  refused ${count}: ${reason}`);
  for (const [note, count] of [...notes].toSorted()) console.log(`  noted ${count}: ${note}`);
  return counts.get("wrong") ?? 0;
}

function print(generation: Generation, made: MadeCase, { result, what, notes }: Outcome): void {
  console.log(
    `${generation}:${made.index} ${result} ${made.class} [${made.form.join("; ")}] (transformers: ${made.reloaded}) ${what}`,
  );
  for (const note of notes) console.log(`    ${note}`);
}
