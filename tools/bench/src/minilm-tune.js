// What tuning brings back of MiniLM's embeddings (all-MiniLM-L6-v2): distilled and aligned on passages of State of the Union
// addresses of even years, compared on those of odd years.
//   node tools/bench/src/minilm-tune.js <folder of the model> <folder of the texts> <name> [options of favor-tune as JSON] [of favor-convert]
// The model is converted as minilm.js does by default, into out/minilm, and tuned into a folder of that name there. The option `from`
// names another conversion. Prints a Markdown table.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { convert } from "favor-convert";
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

const passages = groups.at(-1);
const { from = "chosen-by-calibration", ...tuning } = JSON.parse(options);
const converted = join(output, from);
if (!existsSync(converted)) {
  const calibrate = file("calibration", addresses.textsOf(0).flat());
  await convert({ source, output: converted, calibrate, ...JSON.parse(conversion) }, progress);
}
const tuned = join(output, name);
if (!existsSync(tuned)) {
  const request = {
    source: converted,
    output: tuned,
    teacher: source,
    data: file("training", addresses.allOf(0, passages)),
    evalData: file("compared", addresses.textsOf(1).at(-1)),
    evalCount: passages.texts,
  };
  await tune({ ...request, batch: 8, backend: "wasm", ...tuning }, progress);
}
const { measured, stages } = JSON.parse(readFileSync(join(tuned, "favor.json"), "utf8")).tuning;
console.log(`${measured.sequences} ${passages.name}.\n`);
console.log("| model | cosine | lowest | nearest kept, % | rank correlation |");
console.log("|---|---|---|---|---|");
for (const [model, { cosine, perSequence, neighbours }] of [
  ["converted", measured.before],
  ["tuned", measured.after],
]) {
  const shown = [cosine.value, Math.min(...perSequence)].map((value) => value.toFixed(4));
  const row = [model, ...shown, (100 * neighbours.kept.value).toFixed(1), neighbours.rankCorrelation.toFixed(4)];
  console.log(`| ${row.join(" | ")} |`);
}
for (const { name: stage, steps, seconds, sites = [] } of stages) {
  console.log(`\n${stage}: ${steps} steps, ${(seconds / 60).toFixed(1)} minutes.`);
  for (const { site, before, after } of sites) console.log(`${site}: ${before.toFixed(4)} to ${after.toFixed(4)}`);
}
