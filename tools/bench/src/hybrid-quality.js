// What conversions keep whose exact keys and features calibration chose, without training, on data that was not calibrated on;
// and with the far field dropped.
//   node tools/bench/src/hybrid-quality.js <name> <checkpoint> <data to calibrate on> <data to evaluate on> [options]
// Models go to out/hybrid; what is there already is not made again. Adds the measurement to docs/measurements/hybrid.json and writes docs/measurements/hybrid.md anew. MiniLM's come from
// minilm.js, which writes out/minilm/results.json: pass --embeddings <that file> instead of the rest.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { progressOn } from "@favor/command-line";
import { convert, evaluate } from "favor-convert";

import { dropFarField } from "./drop-far-field.js";

const measurements = fileURLToPath(new URL("../../../docs/measurements/", import.meta.url));
const file = join(measurements, "hybrid.json");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "max-length": { type: "string" },
    "calibrate-count": { type: "string" },
    "evaluate-count": { type: "string" },
    embeddings: { type: "string" },
  },
});
const known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : { masked: [], embeddings: [] };
if (values.embeddings !== undefined) known.embeddings = JSON.parse(readFileSync(values.embeddings, "utf8"));
else if (positionals.length === 4) {
  const made = await measured(...positionals);
  known.masked = [...known.masked.filter(({ name }) => name !== made.name), made];
}
writeFileSync(file, `${JSON.stringify(known, undefined, 2)}\n`);
writeFileSync(join(measurements, "hybrid.md"), page(known));

async function measured(name, source, calibrate, data) {
  const [maxLength, calibrateCount, count] = ["max-length", "calibrate-count", "evaluate-count"].map(numberOf);
  const progress = progressOn(process.stderr, process.env);
  const output = join("out", "hybrid", name.replaceAll(/[^a-z0-9]+/gi, "-"));
  const length = maxLength === undefined ? {} : { maxLength };
  if (!existsSync(output)) {
    const counted = calibrateCount === undefined ? {} : { calibrateCount };
    await convert({ source, output, calibrate, ...length, ...counted }, progress);
  }
  const favor = JSON.parse(readFileSync(join(output, "favor.json"), "utf8"));
  const dropped = `${output}-dropped.onnx`;
  await dropFarField(source, output, dropped);
  const request = { original: source, converted: [output, dropped], data, ...length };
  const [converted, without] = await evaluate({ ...request, ...(count !== undefined && { count }) }, progress);
  return {
    name,
    calibration: { ...favor.calibration, file: basename(calibrate) },
    data: converted.data,
    maskedTokens: converted.maskedTokens,
    original: converted.original,
    converted: { ...converted.converted, kept: converted.accuracyKept },
    dropped: { ...without.converted, kept: without.accuracyKept },
    layers: favor.sites.map(({ layer, state, mask, exactKeys, featureMap, error }) => ({
      layer,
      state,
      ...(mask.band && { band: mask.band }),
      ...(exactKeys && { exactKeys }),
      ...(featureMap && { features: featureMap.kind, count: featureMap.width }),
      ...(error && { error: error.mean, ...error.parts }),
    })),
  };
}

function numberOf(option) {
  return values[option] === undefined ? undefined : Number(values[option]);
}

function lengthsOf({ sequences, windowTokens, tokens }) {
  return windowTokens === undefined
    ? `${sequences} sequences (${Math.round(tokens / sequences)} tokens on average)`
    : `${sequences} windows of ${windowTokens.toLocaleString("en-US")} tokens`;
}

function shown(error) {
  return error === undefined ? "" : error.toFixed(3);
}

function page({ masked, embeddings }) {
  return `# What conversions keep with exact keys

Without training, on data that was not calibrated on. Calibration chose for each layer the width of the blocks, how many blocks
are chosen for each block of queries, and how many features estimate all other keys
([ADR 24](../adr/0024-defaults-by-calibration.md)). "Dropped" is the same model without features: its queries see their exact
keys alone. Written by \`tools/bench/src/hybrid-quality.js\` from [hybrid.json](hybrid.json).

## Masked language models

${table(
  [
    "model",
    "masked tokens",
    "accuracy of softmax",
    "kept (95 %)",
    "kept, far field dropped",
    "perplexity: softmax, converted, dropped",
  ],
  masked.map(({ name, maskedTokens, original, converted, dropped }) => [
    name,
    maskedTokens.toLocaleString("en-US"),
    percent(original.accuracy.value),
    `${percent(converted.kept.value)} (${(100 * converted.kept.low).toFixed(1)} to ${(100 * converted.kept.high).toFixed(1)})`,
    percent(dropped.kept.value),
    [original, converted, dropped].map(({ perplexity }) => perplexity.value.toFixed(3)).join(", "),
  ]),
)}

${masked.map(ofModel).join("\n\n")}
${embeddings.length === 0 ? "" : `\n${ofEmbeddings(embeddings)}`}`;
}

function ofModel({ name, calibration, data, layers }) {
  return `### ${name}

Calibrated on ${lengthsOf(calibration)} of \`${calibration.file}\`, evaluated on ${lengthsOf(data)} of \`${data.file}\`. Errors are those of
the attention matrix, relative to its norm, on average over heads.

${table(
  ["layer", "blocks of", "chosen", "features", "error of near keys alone", "with chosen blocks", "with features"],
  layers.map(({ layer, state, exactKeys, features, count, error, near, chosen }) =>
    exactKeys === undefined
      ? [
          layer,
          state === "band" ? "exact, within its window" : "",
          "",
          features ? `${count}, ${features}` : "",
          "",
          "",
          shown(error),
        ]
      : [
          layer,
          exactKeys.window,
          exactKeys.chosenBlocks,
          features ? `${count}, ${features}` : "none",
          shown(near),
          shown(chosen),
          shown(error),
        ],
  ),
)}`;
}

function ofEmbeddings(rows) {
  return `## Sentence embeddings of MiniLM

The texts and columns of [minilm.md](minilm.md).

${table(
  ["attention", ...Object.keys(rows[0].cosines), "nearest text kept, %", "r"],
  rows.map(({ name, cosines, nearestKept, r }) => [
    name,
    ...Object.values(cosines).map((value) => value.toFixed(4)),
    nearestKept.toFixed(1),
    r.toFixed(4),
  ]),
)}
`;
}

function table(head, rows) {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function percent(share) {
  return `${(100 * share).toFixed(2)} %`;
}
