// Converts a real antibody language model (BERT, 4 layers, in ./checkpoint) to linear attention in four ways, compares
// each with the original (quality on real sequences, speed on long ones), and tunes them until their accuracy comes back.
// `--quick` does less of everything, for tests.
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { comparisonPage } from "@favor/report/pages";
import { convert, evaluate, measureSpeed } from "favor-convert";
import { percentWithInterval } from "@favor/measure/numbers";

import { recoveryRows, recoverySection, recoveryText, tuneAll } from "./recovery.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const source = join(here, "checkpoint");
const dataFile = (name) => join(here, "data", name);
const isQuick = process.argv.includes("--quick");
const output = join("out", isQuick ? "antibody-quick" : "antibody");

const count = isQuick ? 32 : 128; // features per head
const lengths = isQuick ? [64] : [512, 2048];
const evaluateCount = isQuick ? 40 : 500;
const tuning = isQuick
  ? { steps: 2, every: 1, batch: 8, evaluated: 40 }
  : { steps: 30, every: 10, batch: 8, evaluated: 150 };

const calibrate = { calibrate: dataFile("calibration.fasta"), calibrateCount: isQuick ? 20 : 200 };
const variants = [
  { name: "trigonometric", request: { features: "trigonometric" } },
  { name: "positive", request: { features: "positive" } },
  { name: "positive, calibrated", request: { features: "positive", ...calibrate } },
  { name: "landmark", request: { features: "landmark", ...calibrate } },
].map((variant) => ({ ...variant, folder: join(output, variant.name.replaceAll(/[^a-z]+/g, "-")) }));

const say = (text) => process.stderr.write(`${text}\n`);

for (const { name, folder, request } of variants) {
  say(`Converting: ${name} ...`);
  await convert({ source, output: folder, count, force: true, ...request });
}

say("Evaluating all five models on the same masked sequences ...");
const evaluations = await evaluate({
  original: source,
  converted: variants.map(({ folder }) => folder),
  data: dataFile("validation.fasta"),
  count: evaluateCount,
});
const [{ data, maskedTokens, original }] = evaluations;

const models = [];
for (const [i, { name, folder }] of [{ name: "softmax (original)", folder: source }, ...variants].entries()) {
  say(`Timing: ${name} ...`);
  const quality = i === 0 ? original : evaluations[i - 1].converted;
  models.push({ name, quality, speed: await measureSpeed(folder, { lengths }) });
}

const speedOf = (model, at) => {
  const { seconds } = model.speed[at];
  return `${(1000 * seconds).toFixed(0)} ms, ${(models[0].speed[at].seconds / seconds).toFixed(2)} x`;
};
printTable([
  ["attention", "masked accuracy (95 %)", "perplexity", ...lengths.map((length) => `L = ${length}, speed-up`)],
  ...models.map((model) => [
    model.name,
    percentWithInterval(model.quality.accuracy),
    model.quality.perplexity.value.toFixed(2),
    ...lengths.map((_, at) => speedOf(model, at)),
  ]),
]);
const text =
  `${count} features per head. Quality: ${maskedTokens} masked residues of ${data.sequences} antibody sequences. ` +
  `Speed: one sequence of random tokens, median of 5 runs.`;
console.log(`\n${text}\n`);

// Slowest first, so that the two cores finish together; the control is tuned with the first.
const tuned = await tuneAll(variants.toReversed(), {
  args: ["--teacher", source, "--data", dataFile("train.fasta"), "--eval-data", dataFile("validation.fasta")]
    .concat(["--eval-count", tuning.evaluated, "--eval-every", tuning.every, "--steps", tuning.steps].map(String))
    .concat(["--batch", String(tuning.batch), "--backend", "wasm", "--threads", "1", "--force"]),
  say,
});
const recovery = tuned.toReversed();
printTable(recoveryRows(recovery));
console.log(`\n${recoveryText(recovery)}`);

await mkdir(output, { recursive: true });
const report = join(output, "report.html");
const title = "An antibody language model with linear attention";
await writeFile(report, comparisonPage(title, models, [text], [recoverySection(recovery)]));
console.log(`Models: ${relative(".", output)}/*/onnx/model.onnx\nPicture: ${report}`);

function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join("   ")
        .trimEnd(),
    );
}
