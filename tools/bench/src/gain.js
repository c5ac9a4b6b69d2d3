// Measures what a conversion keeps and gains at each length, on a masked language model trained on long documents.
//   node tools/bench/src/gain.js MODEL TRAIN VALIDATION OUTPUT.json [documents]
// MODEL is a checkpoint folder; TRAIN and VALIDATION are data files of documents that are at least as long as the
// longest length. Quality is masked accuracy on the first tokens of each document; speed is one forward pass on one thread.
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";

import { progressOn } from "@favor/command-line";
import { convert, evaluate, measureSpeed } from "favor-convert";

/** Tokens at which quality is measured; the model was trained at up to the last of these. */
const qualityLengths = [512, 1024, 2048, 4096];
const speedLengths = [...qualityLengths, 8192];
/** What the features are fitted to. */
const calibration = { documents: 24, length: 2048 };
const count = 128;

const [model, train, validation, output, documents = "36"] = process.argv.slice(2);
if (output === undefined) throw new Error("usage: gain.js MODEL TRAIN VALIDATION OUTPUT.json [documents]");
const progress = progressOn(process.stderr, process.env);
const scratch = await mkdtemp(join(tmpdir(), "favor-gain-"));

/** A copy of a checkpoint that says it takes no more than `length` tokens, so that documents are cut there. */
async function cutAt(length, folder, name) {
  const copy = join(scratch, `${name}-${length}`);
  await cp(folder, copy, { recursive: true });
  const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
  await writeFile(join(copy, "config.json"), JSON.stringify({ ...config, max_position_embeddings: length }));
  return copy;
}

/** The shortest of four measurements' medians, in seconds: other programs only ever add to a time. */
async function fastest(folders, length) {
  const best = folders.map(() => Infinity);
  for (let round = 0; round < 4; round++)
    for (const [i, folder] of folders.entries()) {
      const [{ seconds }] = await measureSpeed(folder, { lengths: [length], threads: 1, runs: 3 });
      best[i] = Math.min(best[i], seconds);
    }
  return best;
}

try {
  const converted = join(scratch, "converted");
  await convert(
    {
      source: await cutAt(calibration.length, model, "source"),
      output: converted,
      features: "landmark",
      count,
      calibrate: train,
      calibrateCount: calibration.documents,
      truncate: true,
    },
    progress,
  );

  const quality = [];
  for (const length of qualityLengths) {
    const [result] = await evaluate(
      {
        original: await cutAt(length, model, "original"),
        converted: [converted],
        data: validation,
        count: Number(documents),
        truncate: true,
      },
      progress,
    );
    quality.push({
      length,
      documents: Number(documents),
      maskedTokens: result.maskedTokens,
      softmax: result.original.accuracy,
      linear: result.converted.accuracy,
      kept: result.accuracyKept,
    });
    process.stderr.write(`${JSON.stringify(quality.at(-1))}\n`);
  }

  const softmax = await cutAt(Math.max(...speedLengths), model, "timed");
  const linear = await cutAt(Math.max(...speedLengths), converted, "timed-converted");
  const speed = [];
  for (const length of speedLengths) {
    const [softmaxSeconds, linearSeconds] = await fastest([softmax, linear], length);
    speed.push({ length, softmaxSeconds, linearSeconds });
    process.stderr.write(`${JSON.stringify(speed.at(-1))}\n`);
  }

  const machine = { processor: cpus()[0].model.trim(), cores: cpus().length, node: process.version };
  const setting = { features: "landmark", count, calibration, threads: 1 };
  await writeFile(output, `${JSON.stringify({ setting, machine, quality, speed }, undefined, 2)}\n`);
} finally {
  await rm(scratch, { recursive: true, force: true });
}
