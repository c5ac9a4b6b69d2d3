// Converts a real antibody language model (BERT, 4 layers, in ./checkpoint) to linear attention in four ways,
// and compares each with the original: quality on real sequences, speed on long ones.
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { comparisonPage, convert, evaluate, measureSpeed } from "favor-convert";

const here = fileURLToPath(new URL(".", import.meta.url));
const source = join(here, "checkpoint");
const calibrationData = join(here, "data", "calibration.fasta");
const validationData = join(here, "data", "validation.fasta");
const output = join("out", "antibody");

const count = 256; // features a head
const lengths = [512, 2048];

const variants = [
  { name: "trigonometric", request: { features: "trigonometric" } },
  { name: "positive", request: { features: "positive" } },
  { name: "positive, calibrated", request: { features: "positive", calibrate: calibrationData } },
  { name: "landmark", request: { features: "landmark", calibrate: calibrationData } },
];

const say = (text) => process.stderr.write(`${text}\n`);
const folderOf = (name) => join(output, name.replaceAll(/[^a-z]+/g, "-"));

for (const { name, request } of variants) {
  say(`Converting: ${name} ...`);
  // The position table holds 512 tokens; the speed at 2048 needs more.
  await convert({ source, output: folderOf(name), count, maxLength: 2048, force: true, ...request });
}

say("Evaluating all five models on the same masked sequences ...");
const evaluations = await evaluate({
  original: source,
  converted: variants.map(({ name }) => folderOf(name)),
  data: validationData,
});
const [{ data, maskedTokens, original }] = evaluations;

const models = [];
for (const [i, { name, path }] of [
  { name: "softmax (original)", path: source },
  ...variants.map((variant) => ({ name: variant.name, path: folderOf(variant.name) })),
].entries()) {
  say(`Timing: ${name} ...`);
  const quality = i === 0 ? original : evaluations[i - 1].converted;
  models.push({ name, quality, speed: await measureSpeed(path, { lengths }) });
}

const percent = ({ value, low, high }) =>
  `${(100 * value).toFixed(1)} % (${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)})`;
const speedOf = (model, at) => {
  const { seconds } = model.speed[at];
  return `${(1000 * seconds).toFixed(0)} ms, ${(models[0].speed[at].seconds / seconds).toFixed(2)} x`;
};
const rows = [
  ["attention", "masked accuracy (95 %)", "perplexity", ...lengths.map((length) => `L = ${length}, speed-up`)],
  ...models.map((model) => [
    model.name,
    percent(model.quality.accuracy),
    model.quality.perplexity.value.toFixed(2),
    ...lengths.map((_, at) => speedOf(model, at)),
  ]),
];
const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
for (const row of rows)
  console.log(
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join("   ")
      .trimEnd(),
  );

const text =
  `${count} features a head. Quality: ${maskedTokens} masked residues of ${data.sequences} antibody sequences. ` +
  `Speed: one sequence of random tokens, median of 5 runs.`;
await mkdir(output, { recursive: true });
const report = join(output, "report.html");
await writeFile(report, comparisonPage("An antibody language model with linear attention", models, [text]));
console.log(`\n${text}\nModels: ${relative(".", output)}/*/onnx/model.onnx\nPicture: ${report}`);
