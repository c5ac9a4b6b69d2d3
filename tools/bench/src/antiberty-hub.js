// AntiBERTy from a Hub, with an empty cache: its ONNX export, and its pytorch_model.bin without one, converted, calibrated
// and evaluated by the same command. The Hub is hub-server's, on this machine.
//   node tools/bench/src/antiberty-hub.js <folder of the export> <folder of the checkpoint> <folder with the data>
// The export's folder holds model.onnx, config.json and the tokenizer's files; the checkpoint's pytorch_model.bin and
// config.json (`fetch_real.py` of tools/conformance takes them from the wheel antiberty 0.1.3); the data's train.fasta and
// val.fasta. Prints a Markdown table, and whether the numbers are the same.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { HubServer, folderFiles } from "hub-server";

const [exported, checkpoint, data] = process.argv.slice(2);
if (data === undefined) throw new Error("usage: antiberty-hub.js <export> <checkpoint> <data>");

const cli = fileURLToPath(new URL("../../favor-convert/dist/cli.js", import.meta.url));
const only = (folder, names) =>
  Object.fromEntries(Object.entries(folderFiles(folder)).filter(([name]) => names.includes(name)));
const tokenizer = only(exported, ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]);
const repositories = [
  { id: "org/antiberty", files: { ...tokenizer, ...only(exported, ["config.json", "model.onnx"]) } },
  { id: "org/antiberty-pytorch", files: { ...tokenizer, ...only(checkpoint, ["config.json", "pytorch_model.bin"]) } },
];

/** The command; what it recorded. */
async function convert(id, endpoint, scratch) {
  const output = join(scratch, id.replace("/", "-"));
  const from = ["--calibrate", join(data, "train.fasta"), "--evaluate", join(data, "val.fasta")];
  const environment = { ...process.env, HF_ENDPOINT: endpoint, HF_HOME: join(scratch, "cache"), HF_TOKEN: "" };
  const child = spawn(process.execPath, [cli, id, "-o", output, ...from], {
    env: environment,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const status = await new Promise((resolve) => child.once("close", resolve));
  if (status !== 0) throw new Error(`favor-convert ${id} ended with status ${status}`);
  return JSON.parse(readFileSync(join(output, "favor.json"), "utf8"));
}

function interval({ value, low, high }) {
  const [middle, from, to] = [value, low, high].map((share) => (100 * share).toFixed(2));
  return `${middle} (${from} to ${to})`;
}

const scratch = mkdtempSync(join(tmpdir(), "favor-antiberty-"));
const server = await HubServer.start({ repositories });
try {
  const records = [];
  for (const { id } of repositories) records.push(await convert(id, server.endpoint, scratch));
  const { data: used, maskedTokens } = records[0].evaluation;
  console.log(`${maskedTokens} masked residues of ${used.sequences} sequences, seed ${used.seed}.\n`);
  console.log("| from the Hub | masked accuracy before, % | perplexity | after, % | perplexity |");
  console.log("|---|---|---|---|---|");
  for (const { source, evaluation } of records) {
    const { original, converted } = evaluation;
    const cells = [original, converted].flatMap(({ accuracy, perplexity }) => [
      interval(accuracy),
      perplexity.value.toFixed(4),
    ]);
    console.log(`| ${source.name}, ${source.model} | ${cells.join(" | ")} |`);
  }
  const [first, second] = records.map(({ evaluation }) => evaluation);
  const same = (name) => (first[name].accuracy.value === second[name].accuracy.value ? "the same" : "different");
  console.log(`\nMasked accuracy of both: before ${same("original")}, after ${same("converted")}.`);
} finally {
  await server.close();
  rmSync(scratch, { recursive: true, force: true });
}
