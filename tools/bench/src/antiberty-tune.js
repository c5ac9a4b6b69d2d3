// The accuracy that tuning brings back: AntiBERTy with calibrated features, distilled, then fine-tuned with the
// softmax control for comparison, each model measured on the same masked residues.
//   node tools/bench/src/antiberty-tune.js <folder of the model> <folder with train.fasta and val.fasta>
//     [--features landmark|positive] [--counts 128,64] [--sequences 1700] [--steps 100,80] [--batch 16,8] [--out out/antiberty-tune]
// Prints a Markdown table. Models that are in the folder already are not made again.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { convert, evaluate } from "favor-convert";
import { progressOn } from "@favor/command-line";
import { tune } from "favor-tune";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    features: { type: "string", default: "landmark" },
    counts: { type: "string", default: "128,64" },
    sequences: { type: "string", default: "1700" },
    steps: { type: "string", default: "100,80" },
    batch: { type: "string", default: "16,8" },
    out: { type: "string", default: "out/antiberty-tune" },
    // a request as JSON: carries it out alone
    request: { type: "string" },
  },
});

if (values.request === undefined) await compareAll(positionals[0], positionals[1]);
else await carryOut(JSON.parse(values.request));

/** One stage in a process of its own, for its memory; its cost is written next to the model. */
async function carryOut({ stage, request, folder }) {
  const begun = performance.now();
  const progress = progressOn(process.stderr, process.env);
  await (stage === "convert" ? convert(request, progress) : tune(request, progress));
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const cost = {
    seconds: (performance.now() - begun) / 1000,
    processorSeconds: (userCPUTime + systemCPUTime) / 1e6,
    peakBytes: maxRSS * 1024,
  };
  writeFileSync(join(folder, "cost.json"), JSON.stringify(cost));
}

function stagesOf(count, source, data) {
  const [distillSteps, mlmSteps] = values.steps.split(",").map(Number);
  const [distillBatch, mlmBatch] = values.batch.split(",").map(Number);
  const { features } = values;
  const converted = join(values.out, `${features}${count}`);
  const [distilled, tuned] = [`${converted}-distilled`, `${converted}-tuned`];
  const train = join(data, "train.fasta");
  const common = { data: train, evalData: join(data, "val.fasta"), teacher: source, backend: "wasm", evalCount: 300 };
  return [
    {
      name: `${features} ${count}`,
      stage: "convert",
      folder: converted,
      request: { source, output: converted, features, count, calibrate: train },
    },
    {
      name: `distilled ${count}, ${distillSteps} steps`,
      stage: "distill",
      folder: distilled,
      request: {
        ...common,
        source: converted,
        output: distilled,
        stage: "distill",
        steps: distillSteps,
        batch: distillBatch,
      },
    },
    {
      name: `then fine-tuned, ${mlmSteps} steps`,
      stage: "mlm",
      folder: tuned,
      request: {
        ...common,
        source: distilled,
        output: tuned,
        stage: "mlm",
        steps: mlmSteps,
        batch: mlmBatch,
        control: true,
      },
    },
  ];
}

async function compareAll(source, data) {
  const stages = values.counts.split(",").flatMap((count) => stagesOf(Number(count), source, data));
  for (const { name, ...stage } of stages) {
    if (existsSync(join(stage.folder, "favor.json"))) continue;
    process.stderr.write(`${name} ...\n`);
    const argv = [fileURLToPath(import.meta.url), "--request", JSON.stringify(stage)];
    const child = spawnSync(process.execPath, argv, { stdio: "inherit" });
    if (child.status !== 0) throw new Error(`${name}: ended with status ${child.status}`);
  }
  const evaluations = await evaluate(
    {
      original: source,
      converted: stages.map(({ folder }) => folder),
      data: join(data, "val.fasta"),
      count: Number(values.sequences),
    },
    progressOn(process.stderr, process.env),
  );
  const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json");
  const { maskedTokens, original } = evaluations[0];
  console.log(`${maskedTokens} masked residues of ${values.sequences} sequences, onnxruntime-node ${version}.\n`);
  console.log(
    "| model | masked accuracy, % | % of the original | perplexity | minutes | processor minutes | peak MB |",
  );
  console.log("|---|---|---|---|---|---|---|");
  console.log(`| softmax (original) | ${percents(original.accuracy)} | 100 | ${shown(original.perplexity)} | | | |`);
  for (const [i, { converted, accuracyKept }] of evaluations.entries()) {
    const { name, folder } = stages[i];
    const row = [name, percents(converted.accuracy), percents(accuracyKept), shown(converted.perplexity)];
    console.log(`| ${row.join(" | ")} | ${costOf(folder)} |`);
  }
  console.log("\nWith the control, the softmax original fine-tuned in the same way:\n");
  console.log("| model | masked residues | before, % | after, % | control, % | original, % |");
  console.log("|---|---|---|---|---|---|");
  for (const { name, folder } of stages) {
    const { tuning } = JSON.parse(readFileSync(join(folder, "favor.json"), "utf8"));
    if (tuning?.measured.control === undefined) continue;
    const { measured } = tuning;
    const accuracies = [measured.before, measured.after, measured.control, measured.original].map(({ accuracy }) =>
      percents(accuracy),
    );
    console.log(`| ${[name, measured.maskedTokens, ...accuracies].join(" | ")} |`);
  }
}

function percents({ value, low, high }) {
  return `${(100 * value).toFixed(2)} (${(100 * low).toFixed(2)} to ${(100 * high).toFixed(2)})`;
}

function shown({ value }) {
  return value.toFixed(3);
}

function costOf(folder) {
  const file = join(folder, "cost.json");
  if (!existsSync(file)) return " | | ";
  const { seconds, processorSeconds, peakBytes } = JSON.parse(readFileSync(file, "utf8"));
  return `${(seconds / 60).toFixed(1)} | ${(processorSeconds / 60).toFixed(1)} | ${Math.round(peakBytes / 1e6)}`;
}
