// Converts a language model that was trained on documents of up to 4,096 tokens, without training, and shows what each
// conversion keeps and gains at each length.
//   node demo.js                  at 512 to 4,096 tokens: masked accuracy, perplexity, time and memory
//   node demo.js --long           also at 8,192 tokens, twice what the model was trained at
//   node demo.js --tuned FOLDER   with a model that favor-tune made from out/long-documents/default-conversion
//   node demo.js --reuse          with the conversions that an earlier run left in out/long-documents
//   node demo.js --quick          at 512 and 1,024, on less of everything: to show that it runs
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { grouped, percentWithInterval } from "@favor/measure/numbers";

import { machineToday, measureAtLengths, trainedLength } from "./measure.js";
import { makeModels } from "./methods.js";

const { values } = parseArgs({
  options: {
    long: { type: "boolean" },
    quick: { type: "boolean" },
    reuse: { type: "boolean" },
    tuned: { type: "string" },
  },
});
const output = join("out", values.quick ? "long-documents-quick" : "long-documents");
const setting = values.quick
  ? { lengths: [512, 1024], tokens: 2048, rounds: 1, count: 16, calibration: { maxLength: 1024, calibrateCount: 5 } }
  : {
      lengths: [512, 1024, 2048, 4096, ...(values.long ? [8192] : [])],
      tokens: 24_576,
      rounds: 1,
      count: 128,
      calibration: { maxLength: trainedLength, calibrateCount: 24 },
    };
const say = (text) => process.stderr.write(`${text}\n`);

const models = await makeModels({ ...setting, output, reuse: values.reuse, tuned: values.tuned, say });
const results = await measureAtLengths(models, { ...setting, say });
for (const result of results) printLength(result);
console.log(
  `Calibrated on ${setting.calibration.calibrateCount} windows of ${grouped(setting.calibration.maxLength)} tokens, measured on ` +
    "other documents; nothing was trained. Time of the processor and peak memory: one forward pass, one thread.",
);
await mkdir(output, { recursive: true });
const file = join(output, "figures.json");
await writeFile(file, `${JSON.stringify({ setting, machine: machineToday(), results }, undefined, 2)}\n`);
console.log(`Figures: ${file}\nModels: ${output}/*/onnx/model.onnx`);

function printLength({ length, windows, maskedTokens, models: measured, softmaxFails }) {
  const beyond = length > trainedLength ? `, beyond the ${grouped(trainedLength)} that the model was trained at` : "";
  console.log(`${grouped(length)} tokens${beyond} (${grouped(maskedTokens)} masked tokens of ${windows} windows)`);
  if (softmaxFails !== undefined) {
    const [now, then] = [softmaxFails.accuracy, softmaxFails.trained].map((share) => `${(100 * share).toFixed(1)} %`);
    console.log(
      `Softmax itself falls to ${now}, from ${then} at the longest trained length: there is nothing to keep.\n`,
    );
    return;
  }
  const [softmax] = measured;
  const rows = measured.map(({ name, accuracy, perplexity, kept, seconds, peakBytes }) => [
    name,
    percentWithInterval(accuracy),
    kept === undefined ? "" : `${(100 * kept.value).toFixed(1)} %`,
    perplexity.value.toFixed(2),
    `${(1000 * seconds).toFixed(0)} ms`,
    `${(softmax.seconds / seconds).toFixed(2)} x`,
    `${(peakBytes / 1e6).toFixed(0)} MB`,
  ]);
  printTable([["attention", "masked accuracy (95 %)", "kept", "perplexity", "time", "speed-up", "memory"], ...rows]);
  console.log("");
}

function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) {
    const cells = row.map((cell, column) => cell.padEnd(widths[column]));
    console.log(cells.join("   ").trimEnd());
  }
}
