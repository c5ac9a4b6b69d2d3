// Long inputs: what a conversion calibrated and distilled on single sequences is worth there, what joined ones of mixed
// lengths change, and how the converted model and the softmax original learn at each length.
//   node tools/bench/src/tune-long.js <folder of the model> <folder with train.fasta and val.fasta> [options]
// Prints Markdown tables. Models go to --output; what is there already is not made again, so that a run may be cut off.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { growModel } from "@favor/rewriter";
import { openModel, writeModel } from "@favor/onnx/node";
import { convert, evaluate } from "favor-convert";
import { tune } from "favor-tune";

import { shuffledSequences, writeJoined, writeSingle } from "./tune-long-data.js";

const [mode, task] = process.argv.slice(2);
if (mode === "--task") await runTask(JSON.parse(task));
else await measure(options());

function options() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      model: { type: "string", default: "model.onnx" },
      train: { type: "string", default: "train.fasta" },
      val: { type: "string", default: "val.fasta" },
      output: { type: "string", default: "out/long" },
      lengths: { type: "string", default: "512,1024,2048" },
      features: { type: "string", default: "128" },
      calibrate: { type: "string", default: "400" },
      "distill-steps": { type: "string", default: "40" },
      steps: { type: "string", default: "20" },
      tokens: { type: "string", default: "4096" },
      "learning-rate": { type: "string", default: "0.0001" },
      "eval-lines": { type: "string", default: "1000000" },
    },
  });
  const [source, data] = positionals;
  if (data === undefined) throw new Error("usage: tune-long.js <folder of the model> <folder of the data> [options]");
  const { model, output, lengths, features, calibrate, "distill-steps": distillSteps, steps, tokens } = values;
  return {
    source: { folder: source, model: join(source, model) },
    train: join(data, values.train),
    val: join(data, values.val),
    output,
    lengths: lengths.split(",").map(Number),
    features: Number(features),
    calibrate: Number(calibrate),
    distillSteps: Number(distillSteps),
    steps: Number(steps),
    tokens: Number(tokens),
    learningRate: Number(values["learning-rate"]),
    evalLines: Number(values["eval-lines"]),
  };
}

async function measure(given) {
  const { lengths, output } = given;
  mkdirSync(output, { recursive: true });
  const original = await grown(given.source, Math.max(...lengths), join(output, "softmax"));
  const file = writeData(given);
  const converted = await conversions(given, original, file);
  await showLengths(given, original, converted, file);
  await showTuning(given, original, converted.at(-1), file);
}

/** The softmax original with a longer position table: teacher, reference and what is converted. */
async function grown({ folder, model }, maxLength, output) {
  if (existsSync(join(output, "config.json"))) return output;
  mkdirSync(join(output, "onnx"), { recursive: true });
  const opened = await openModel(model);
  for (const note of growModel(opened.model, { maxLength })) process.stderr.write(`${note}\n`);
  await writeModel(opened.model, join(output, "onnx", "model.onnx"));
  opened.close();
  for (const name of ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]) {
    if (existsSync(join(folder, name))) copyFileSync(join(folder, name), join(output, name));
  }
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  writeFileSync(join(output, "config.json"), JSON.stringify({ ...config, max_position_embeddings: maxLength }));
  return output;
}

/** The same sequences alone, joined to each length, and joined to all lengths in turn. */
function writeData({ train, val, lengths, output, calibrate }) {
  const [training, validation] = [train, val].map(shuffledSequences);
  const file = (name) => join(output, `${name}.txt`);
  for (const [name, sequences] of Object.entries({ train: training, calibrate: training.slice(0, calibrate) })) {
    writeJoined(file(`${name}-mixed`), sequences, lengths);
    writeSingle(file(`${name}-single`), sequences);
  }
  writeSingle(file("val-single"), validation);
  for (const length of lengths) {
    writeJoined(file(`train-${length}`), training, [length]);
    writeJoined(file(`val-${length}`), validation, [length]);
  }
  return file;
}

/**
 * Calibrated on single sequences and on the same ones joined, and each distilled on what it was calibrated on, with as
 * many tokens a step.
 */
async function conversions({ output, features, distillSteps, tokens, lengths }, source, file) {
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  const made = [];
  for (const [name, words, length] of [
    ["single", "single sequences", meanTokens(file("train-single"))],
    ["mixed", `lengths of ${lengths.join(", ")}`, mean],
  ]) {
    const calibrated = join(output, `calibrated-${name}`);
    const given = { count: features, calibrate: file(`calibrate-${name}`), calibrateCount: 1_000_000 };
    await once(calibrated, { kind: "convert", request: { source, output: calibrated, ...given } });
    const distilled = join(output, `distilled-${name}`);
    const stage = {
      stage: "distill",
      steps: distillSteps,
      evalEvery: distillSteps,
      batch: Math.round(tokens / length),
    };
    const request = { source: calibrated, output: distilled, data: file(`train-${name}`), teacher: source, ...stage };
    await once(distilled, { kind: "tune", request: { ...request, evalData: file("val-single"), evalCount: 20 } });
    made.push({ words: `calibrated on ${words}`, folder: calibrated });
    made.push({ words: `distilled on ${words}`, folder: distilled });
  }
  return made;
}

function meanTokens(path) {
  const lines = readFileSync(path, "utf8").split("\n").filter(Boolean);
  return lines.reduce((sum, { length }) => sum + length + 2, 0) / lines.length;
}

/** Every model at every length, without any tuning of its weights. */
async function showLengths({ lengths, evalLines }, original, converted, file) {
  const files = ["single", ...lengths].map((length) => file(`val-${length}`));
  const folders = converted.map(({ folder }) => folder);
  const columns = [];
  for (const data of files) {
    columns.push(await evaluate({ original, converted: folders, data, count: evalLines }));
  }
  console.log(`| masked accuracy, % | single | ${lengths.join(" | ")} |`);
  console.log(`|---|${"---|".repeat(files.length)}`);
  const softmax = { words: "softmax", accuracies: columns.map(([first]) => first.original.accuracy) };
  const others = converted.map(({ words }, i) => ({
    words,
    accuracies: columns.map((all) => all[i].converted.accuracy),
  }));
  for (const { words, accuracies } of [softmax, ...others]) {
    console.log(`| ${words} | ${accuracies.map(interval).join(" | ")} |`);
  }
  console.log(`\nMasked residues: ${columns.map(([{ maskedTokens }]) => maskedTokens).join(", ")}.\n`);
}

/** Tunes both models in the same way at each length, each in a process of its own. */
async function showTuning({ output, lengths, steps, tokens, learningRate, evalLines }, original, best, file) {
  // Exact attention in the converted form: the softmax control, of the same graph otherwise, by the same command.
  const exact = join(output, "exact");
  await once(exact, { kind: "convert", request: { source: original, output: exact, features: "exact" } });
  console.log("| tokens | model | before, % | after, % | seconds a step | processor seconds in all | peak MB |");
  console.log("|---|---|---|---|---|---|---|");
  for (const length of lengths) {
    for (const [words, source] of [
      ["softmax (control)", exact],
      [best.words, best.folder],
    ]) {
      const folder = join(output, `tuned-${words.startsWith("softmax") ? "softmax" : "linear"}-${length}`);
      const batch = Math.max(1, Math.round(tokens / length));
      const stage = { stage: "mlm", steps, evalEvery: steps, batch, learningRate, backend: "wasm" };
      const data = { data: file(`train-${length}`), evalData: file(`val-${length}`), evalCount: evalLines };
      const request = { source, output: folder, ...data, ...stage };
      const cost = await once(folder, { kind: "tune", request });
      console.log(`| ${length} | ${words} | ${tuningCells(cost, folder, steps)} |`);
    }
  }
}

function tuningCells(cost, folder, steps) {
  if (cost.error !== undefined) return "| | | | no memory";
  const { tuning } = JSON.parse(readFileSync(join(folder, "favor.json"), "utf8"));
  const { before, after } = tuning.measured;
  const seconds = tuning.stages.at(-1).seconds / steps;
  const peak = Math.round(cost.peakBytes / 1e6);
  return `${interval(before.accuracy)} | ${interval(after.accuracy)} | ${seconds.toFixed(2)} | ${Math.round(cost.processorSeconds)} | ${peak}`;
}

function interval({ value, low, high }) {
  const [middle, from, to] = [value, low, high].map((share) => (100 * share).toFixed(1));
  return `${middle} (${from} to ${to})`;
}

/** A task in a process of its own, for its memory, unless it was done before; its cost is written next to the folder. */
async function once(folder, work) {
  const record = `${folder}.cost.json`;
  if (!existsSync(record)) {
    process.stderr.write(`${folder} ...\n`);
    const argv = [fileURLToPath(import.meta.url), "--task", JSON.stringify({ ...work, record })];
    const child = spawnSync(process.execPath, argv, { stdio: ["ignore", "ignore", "inherit"] });
    // V8 aborts where its heap is full, and the system kills where its own memory is.
    const ranOut = child.status === 134 || ["SIGKILL", "SIGABRT"].includes(child.signal);
    if (ranOut) writeFileSync(record, JSON.stringify({ error: "out-of-memory" }));
    else if (child.status !== 0) throw new Error(`${folder}: ended with status ${child.status}`);
  }
  return JSON.parse(readFileSync(record, "utf8"));
}

async function runTask({ kind, request, record }) {
  try {
    await (kind === "convert" ? convert : tune)({ ...request, force: true });
  } catch (error) {
    if (error.code !== "out-of-memory") throw error;
    writeFileSync(record, JSON.stringify({ error: error.code }));
    return;
  }
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const processorSeconds = (userCPUTime + systemCPUTime) / 1e6;
  writeFileSync(record, JSON.stringify({ processorSeconds, peakBytes: maxRSS * 1024 }));
}
