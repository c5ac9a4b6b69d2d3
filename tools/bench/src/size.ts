#!/usr/bin/env node
/**
 * Time and peak memory of a conversion without calibration, source hashing included, beside Python's `onnx.load` and
 * `onnx.save` of the same file: a BERT-base of 440 MB with its weights in the file, and a model of 5 GB with external
 * data (a sparse file). It needs 12 GB of disk where TMPDIR is, or less with sparse files; all is removed afterwards.
 *
 *   npm run build && npm run size -w @favor/bench -- [--python PATH]
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { convertAttention, createMessage, encodeModel } from "@favor/onnx";
import { hashFile, openModel, writeModel } from "@favor/onnx/node";
import { encoder, noise, type EncoderSize } from "./size-model.ts";

interface Subject extends EncoderSize {
  readonly title: string;
  readonly external: boolean;
}

const subjects: readonly Subject[] = [
  { title: "440 MB, weights in the file", external: false, layers: 12, hidden: 768, heads: 12, vocabulary: 30_522 },
  { title: "5 GB, external data", external: true, layers: 6, hidden: 4096, heads: 32, vocabulary: 30_522 },
];
/** Above Node's own, in MB. */
const mostMemory = 300;

async function make(subject: Subject, folder: string): Promise<void> {
  const path = join(folder, "model.onnx");
  if (!subject.external) {
    await writeModel(
      encoder(subject, (bytes) => ({ source: { field: "rawData", range: noise(bytes) } })),
      path,
    );
    return;
  }
  let end = 0;
  const model = encoder(subject, (bytes) => {
    const entries = { location: "model.onnx_data", offset: String(end), length: String(bytes) };
    end += bytes;
    const externalData = Object.entries(entries).map(([key, value]) =>
      createMessage("StringStringEntryProto", { key, value }),
    );
    return { dataLocation: 1, externalData };
  });
  fs.writeFileSync(join(folder, "model.onnx_data"), "");
  fs.truncateSync(join(folder, "model.onnx_data"), end);
  fs.writeFileSync(path, encodeModel(model));
}

/** Hashes the source, converts it and writes the result; prints the seconds of each. */
async function convert(folder: string): Promise<void> {
  const laps: [string, number][] = [];
  let last = performance.now();
  const lap = (name: string): void => {
    const now = performance.now();
    laps.push([name, (now - last) / 1000]);
    last = now;
  };
  const opened = await openModel(join(folder, "model.onnx"));
  lap("open");
  await opened.sha256();
  for (const path of opened.externalFiles) await hashFile(path);
  lap("hash");
  const { sites } = convertAttention(opened.model);
  lap("convert");
  await writeModel(opened.model, join(folder, "converted.onnx"));
  opened.close();
  lap("write");
  const converted = sites.filter(({ state }) => state === "converted").length;
  console.log(JSON.stringify({ laps, converted }));
}

const program = `
import sys
try:
    import onnx
except ImportError:
    sys.exit(0)
import json, resource, time
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
bare, start = peak(), time.time()
model = onnx.load(sys.argv[1])
onnx.save(model, sys.argv[2], save_as_external_data=sys.argv[3] == "external", location="python.onnx_data")
print(json.dumps({"seconds": time.time() - start, "megabytes": peak() - bare, "version": onnx.__version__}))
`;

/** Runs a mode of this script in a process of its own; its last line is its peak memory in MB. */
function child(mode: string, folder: string, index: number): { output: string; megabytes: number } {
  const args = [fileURLToPath(import.meta.url), mode, folder, String(index)];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${mode}: ${stderr}`);
  const lines = stdout.trim().split("\n");
  return { output: lines.slice(0, -1).join("\n"), megabytes: Number(lines.at(-1)) };
}

function runPython(python: string, folder: string, external: boolean): string {
  const args = [
    "-c",
    program,
    join(folder, "model.onnx"),
    join(folder, "python.onnx"),
    external ? "external" : "inline",
  ];
  const { stdout, stderr, status } = spawnSync(python, args, { encoding: "utf8" });
  if (status !== 0) return `not measured (${stderr?.trim().split("\n").at(-1) ?? "no such program"})`;
  if (stdout.trim() === "") return "not measured: it has no package onnx";
  const { seconds, megabytes, version } = JSON.parse(stdout) as { seconds: number; megabytes: number; version: string };
  return `onnx ${version} loads and saves in ${seconds.toFixed(2)} s, ${megabytes.toFixed(0)} MB above its own`;
}

function measure(): void {
  const { values } = parseArgs({ options: { python: { type: "string", default: "python3" } } });
  const root = fs.mkdtempSync(join(tmpdir(), "favor-size-"));
  try {
    const bare = child("bare", root, 0).megabytes;
    console.log(`Node with the packages: ${bare.toFixed(0)} MB`);
    subjects.forEach((subject, index) => {
      const folder = fs.mkdtempSync(join(root, "model-"));
      child("make", folder, index);
      const { output, megabytes } = child("convert", folder, index);
      const { laps, converted } = JSON.parse(output) as { laps: [string, number][]; converted: number };
      const total = laps.reduce((sum, [, seconds]) => sum + seconds, 0);
      const parts = laps.map(([name, seconds]) => `${name} ${seconds.toFixed(2)}`).join(", ");
      const above = megabytes - bare;
      console.log(`${subject.title}: ${total.toFixed(2)} s (${parts}), ${converted} attentions converted`);
      console.log(
        `  ${above.toFixed(0)} MB above Node's own: ${above <= mostMemory ? "met" : "NOT met"} (at most ${mostMemory})`,
      );
      for (const name of fs.readdirSync(folder)) if (name.startsWith("converted")) fs.rmSync(join(folder, name));
      console.log(`  Python: ${runPython(values.python, folder, subject.external)}`);
      fs.rmSync(folder, { recursive: true });
    });
  } finally {
    fs.rmSync(root, { recursive: true, force: true });
  }
}

const [mode, folder = "", index = "0"] = process.argv.slice(2);
if (mode === "make") await make(subjects[Number(index)]!, folder);
else if (mode === "convert") await convert(folder);
else if (mode !== "bare") measure();
if (mode === "make" || mode === "convert" || mode === "bare") console.log(process.resourceUsage().maxRSS / 1024);
