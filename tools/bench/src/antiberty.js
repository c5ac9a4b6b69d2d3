// Converts AntiBERTy in every way and compares each model with the original on the same masked residues.
//   node tools/bench/src/antiberty.js <folder of the model> <folder with train.fasta and val.fasta> [sequences] [names...]
// Prints a Markdown table. Models go to out/antiberty; those that are there already are not made again.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { convert, evaluate } from "favor-convert";
import { progressOn } from "@favor/command-line";

/** Name to request. */
const variants = {
  exact: { features: "exact" },
  "trigonometric 256": { features: "trigonometric", count: 256 },
  "positive 256": { features: "positive", count: 256 },
  "positive 128, calibrated": { features: "positive", count: 128, calibrate: true },
  "positive 256, calibrated": { features: "positive", count: 256, calibrate: true },
  "positive 512, calibrated": { features: "positive", count: 512, calibrate: true },
  "landmark 64": { features: "landmark", count: 64, calibrate: true },
  "landmark 128": { features: "landmark", count: 128, calibrate: true },
  "landmark 256": { features: "landmark", count: 256, calibrate: true },
  "landmark 128, refined in 40 steps": { features: "landmark", count: 128, refine: 40, calibrate: true },
};

const [mode, ...rest] = process.argv.slice(2);
if (mode === "--convert") await convertHere(JSON.parse(rest[0]));
else await compareAll(mode, rest[0], Number(rest[1] ?? 1700), rest.slice(2));

function percent(value) {
  return (100 * value).toFixed(1);
}

function interval({ value, low, high }) {
  return `${percent(value)} (${percent(low)} to ${percent(high)})`;
}

/** One conversion in a process of its own, for its memory; its cost is written next to the model. */
async function convertHere(request) {
  const start = performance.now();
  await convert(request);
  const seconds = (performance.now() - start) / 1000;
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const cost = { seconds, processorSeconds: (userCPUTime + systemCPUTime) / 1e6, peakBytes: maxRSS * 1024 };
  writeFileSync(join(request.output, "cost.json"), JSON.stringify(cost));
}

async function compareAll(source, data, count, chosen) {
  const names = Object.keys(variants).filter((name) => chosen.length === 0 || chosen.includes(name));
  const folders = names.map((name) => join("out", "antiberty", name.replaceAll(/[^a-z0-9]+/g, "-")));
  for (const [i, name] of names.entries()) {
    if (existsSync(join(folders[i], "cost.json"))) continue;
    process.stderr.write(`Converting: ${name} ...\n`);
    const { calibrate, ...request } = variants[name];
    const train = calibrate === true ? { calibrate: join(data, "train.fasta") } : {};
    const task = JSON.stringify({ ...request, ...train, source, output: folders[i], force: true });
    const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), "--convert", task], {
      stdio: "inherit",
    });
    if (child.status !== 0) throw new Error(`${name}: the conversion ended with status ${child.status}`);
  }
  const evaluations = await evaluate(
    { original: source, converted: folders, data: join(data, "val.fasta"), count },
    progressOn(process.stderr, process.env),
  );
  const { maskedTokens, original } = evaluations[0];
  console.log(`${maskedTokens} masked residues of ${count} sequences.\n`);
  console.log("| attention | masked accuracy, % | % of the original | seconds | processor seconds | peak MB |");
  console.log("|---|---|---|---|---|---|");
  console.log(`| softmax (original) | ${interval(original.accuracy)} | 100 | | | |`);
  for (const [i, { converted, accuracyKept }] of evaluations.entries()) {
    const { seconds, processorSeconds, peakBytes } = JSON.parse(readFileSync(join(folders[i], "cost.json"), "utf8"));
    const cost = `${seconds.toFixed(1)} | ${processorSeconds.toFixed(1)} | ${Math.round(peakBytes / 1e6)}`;
    console.log(`| ${names[i]} | ${interval(converted.accuracy)} | ${interval(accuracyKept)} | ${cost} |`);
  }
}
