// What tuning brings back of MiniLM's embeddings (all-MiniLM-L6-v2): distilled and aligned on passages of State of the Union
// addresses of even years, compared on those of odd years.
//   node tools/bench/src/minilm-tune.js <folder of the model> <folder of the texts> <name> [options of favor-tune as JSON]
// The model is converted as minilm.js does by default, into out/minilm. Prints a Markdown table.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { convert, evaluate } from "favor-convert";
import { progressOn } from "@favor/command-line";
import { tune } from "favor-tune";

import { Addresses, groups } from "./addresses.js";

const [source, data, name, options = "{}", conversion = "{}"] = process.argv.slice(2);
if (name === undefined)
  throw new Error("usage: minilm-tune.js <folder of the model> <folder of the texts> <name> [options]");
const output = join("out", "minilm");
mkdirSync(output, { recursive: true });
const progress = progressOn(process.stderr, process.env);
const addresses = new Addresses(source, data);
const file = (of, texts) => {
  const path = join(output, `${of}.txt`);
  writeFileSync(path, texts.map(({ text }) => `${text}\n`).join(""));
  return path;
};

const calibration = addresses.textsOf(0).flat();
const compared = addresses.textsOf(1).map((texts, i) => file(`compared-${i}`, texts));
const passages = groups.at(-1);
const training = file("training", addresses.allOf(0, passages));
const { from = "chosen-by-calibration", ...tuning } = JSON.parse(options);
const converted = join(output, from);
if (!existsSync(converted)) {
  const calibrate = file("calibration", calibration);
  await convert({ source, output: converted, calibrate, ...JSON.parse(conversion) }, progress);
}
const tuned = join(output, name);
if (!existsSync(tuned)) {
  const request = { source: converted, output: tuned, teacher: source, data: training, evalData: compared.at(-1) };
  await tune({ ...request, evalCount: passages.texts, batch: 8, backend: "wasm", ...tuning }, progress);
}
console.log(`| ${["texts", "model", "cosine", "lowest", "nearest kept, %", "rank correlation"].join(" | ")} |`);
console.log(`|${"---|".repeat(6)}`);
for (const [i, path] of compared.entries()) {
  const request = { original: source, converted: [converted, tuned], data: path, count: groups[i].texts };
  const evaluations = await evaluate(request, progress);
  for (const [at, { cosine, perSequence, neighbours }] of evaluations.entries()) {
    const { kept, rankCorrelation } = neighbours;
    const shown = [cosine.value, Math.min(...perSequence)].map((value) => value.toFixed(4));
    const row = [groups[i].name, ["converted", "tuned"][at], ...shown];
    console.log(`| ${[...row, (100 * kept.value).toFixed(1), rankCorrelation.toFixed(4)].join(" | ")} |`);
  }
}
const { stages } = JSON.parse(readFileSync(join(tuned, "favor.json"), "utf8")).tuning;
for (const { name: stage, steps, seconds } of stages)
  console.log(`\n${stage}: ${steps} steps, ${(seconds / 60).toFixed(1)} minutes.`);
