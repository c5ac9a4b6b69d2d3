/**
 * Changes what attention computes in models that onnxruntime runs, converts them with exact attention,
 * which is written again, and compares: Favor must refuse a model, or the outputs must stay the same.
 *
 *   npm run build && npm run soundness -w @favor/conformance -- --seed 1 --from 0 --to 1000
 *
 * --synonyms       changes only how the models are written: Favor must convert as many sites as before
 * --case 17        runs one case and prints its result; --save FILE writes the mutated model
 * --corpus FOLDER  models to mutate; default: ../shared/zoo, else its core in ../zoo
 * --verbose        prints every case
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { encodeModel } from "@favor/onnx";
import { defaultCorpus } from "../fuzz/corpus.ts";
import { caseOptions } from "../fuzz/options.ts";
import { Corpus, makeCase, makeSynonym, runCase, runSynonym } from "./case.ts";
import { readSeeds } from "./corpus.ts";

const { values } = parseArgs({
  options: {
    ...caseOptions,
    synonyms: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});

const findings = new Set(["unsound", "crash", "lost", "not a synonym"]);
const [make, run] = values.synonyms ? [makeSynonym, runSynonym] : [makeCase, runCase];
const seed = Number(values.seed);
const corpus = new Corpus(readSeeds(values.corpus ?? defaultCorpus()));
if (values.case !== undefined) {
  const index = Number(values.case);
  if (values.save !== undefined) writeFileSync(values.save, encodeModel((await make(corpus, seed, index)).model));
  console.log(JSON.stringify(await run(corpus, seed, index)));
} else {
  const counts = new Map<string, number>();
  for (let index = Number(values.from); index < Number(values.to); index++) {
    const outcome = await run(corpus, seed, index);
    counts.set(outcome.result, (counts.get(outcome.result) ?? 0) + 1);
    if ((index + 1) % 250 === 0) console.log(`${index + 1} of ${values.to}`);
    const isFinding = findings.has(outcome.result);
    if (isFinding || values.verbose) console.log(`${index} ${JSON.stringify(outcome)}`);
  }
  const found = [...counts].toSorted(([, a], [, b]) => b - a).map(([result, count]) => `${count} ${result}`);
  console.log(`${found.join(", ")}.`);
  process.exitCode = [...counts.keys()].some((result) => findings.has(result)) ? 1 : 0;
}
