/**
 * Mutates ONNX models and runs `decodeModel` and `inspectAttention` on each: they may throw only Favor's errors, and
 * take at most one second and 500 MB.
 *
 *   npm run build && npm run fuzz -w @favor/conformance -- --from 0 --to 100000
 *
 * --seed 0         seeds the cases
 * --case 17        runs one case and prints its result; --save FILE writes its bytes
 * --corpus FOLDER  models to mutate; default: ../shared/zoo, else its core in ../zoo
 * --convert        converts each model too
 */
import { writeFileSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { makeCase, runCase } from "./case.ts";
import { defaultCorpus, readCorpus } from "./corpus.ts";
import { caseOptions } from "./options.ts";
import { runAll } from "./supervise.ts";

const { values } = parseArgs({
  options: {
    ...caseOptions,
    convert: { type: "boolean", default: false },
    child: { type: "boolean", default: false },
  },
});
/** Written synchronously: if a case kills this process, the supervisor must know which one. */
const tell = (message: unknown): void => void writeSync(1, `${JSON.stringify(message)}\n`);

const seed = Number(values.seed);
const folder = values.corpus ?? defaultCorpus();
const [from, to] = [Number(values.from), Number(values.to)];

if (values.case !== undefined) {
  const corpus = readCorpus(folder);
  if (values.save !== undefined) writeFileSync(values.save, makeCase(corpus, seed, Number(values.case)).bytes);
  const { stack, ...outcome } = runCase(corpus, seed, Number(values.case), values.convert);
  console.log(JSON.stringify(outcome), stack ?? "");
} else if (values.child) {
  const corpus = readCorpus(folder);
  for (let index = from; index < to; index++) {
    tell({ index });
    const outcome = runCase(corpus, seed, index, values.convert);
    tell({ index, outcome, megabytes: process.resourceUsage().maxRSS / 1024 });
  }
} else {
  const rerun = `npm run fuzz -w @favor/conformance -- --corpus ${folder} --seed ${seed}${values.convert ? " --convert" : ""}`;
  const passed = await runAll({ seed, from, to, corpus: folder, convert: values.convert, rerun });
  process.exitCode = passed ? 0 : 1;
}
