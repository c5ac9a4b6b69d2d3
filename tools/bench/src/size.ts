#!/usr/bin/env node
/**
 * Time and peak memory of a conversion without calibration, including the source's hash, compared with Python's `onnx.load` and
 * `onnx.save` of the same file, by the clock and in processor time: a BERT-base of 440 MB with its weights in the file, and a model of 5 GB with external
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
import { convertAttention } from "@favor/rewriter";
import { createMessage, encodeModel } from "@favor/onnx";
import { hashFile, openModel, writeModel, type OpenedModel } from "@favor/onnx/node";
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

interface Seconds {
  readonly wall: number;
  /** Over all threads, in user and system mode. */
  readonly processor: number;
}

interface Lap extends Seconds {
  readonly name: string;
}

interface Laps {
  readonly laps: readonly Lap[];
  readonly converted: number;
}

function secondsSoFar(): Seconds {
  const { user, system } = process.cpuUsage();
  return { wall: performance.now() / 1e3, processor: (user + system) / 1e6 };
}

/** Converts a model while its source is hashed, as favor-convert does; prints the seconds of each step. */
async function convert(folder: string): Promise<void> {
  const laps: Lap[] = [];
  let last = secondsSoFar();
  const lap = (name: string): void => {
    const now = secondsSoFar();
    laps.push({ name, wall: now.wall - last.wall, processor: now.processor - last.processor });
    last = now;
  };
  const opened = await openModel(join(folder, "model.onnx"));
  lap("open");
  const hashing = hashSource(opened);
  const { model, sites } = convertAttention(opened.model);
  lap("convert");
  await writeModel(model, join(folder, "converted.onnx"));
  lap("write");
  await hashing;
  opened.close();
  lap("rest of the hash");
  const converted = sites.filter(({ state }) => state === "linear").length;
  console.log(JSON.stringify({ laps, converted } satisfies Laps));
}

async function hashSource(opened: OpenedModel): Promise<void> {
  await opened.sha256();
  for (const path of opened.externalFiles) await hashFile(path);
}

const program = `
import sys
try:
    import onnx
except ImportError:
    sys.exit(0)
import json, resource, time
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
bare, start, processor = peak(), time.time(), time.process_time()
model = onnx.load(sys.argv[1])
onnx.save(model, sys.argv[2], save_as_external_data=sys.argv[3] == "external", location="python.onnx_data")
seconds = {"wall": time.time() - start, "processor": time.process_time() - processor}
print(json.dumps({"seconds": seconds, "megabytes": peak() - bare, "version": onnx.__version__}))
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
  const { seconds, megabytes, version } = JSON.parse(stdout) as {
    seconds: Seconds;
    megabytes: number;
    version: string;
  };
  return `onnx ${version} loads and saves in ${shown(seconds)}, ${megabytes.toFixed(0)} MB above its own`;
}

function shown({ wall, processor }: Seconds): string {
  return `${wall.toFixed(2)} s (${processor.toFixed(2)} s of processors)`;
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
      const { laps, converted } = JSON.parse(output) as Laps;
      const [wall, processor] = (["wall", "processor"] as const).map((kind) =>
        laps.reduce((sum, lap) => sum + lap[kind], 0),
      ) as [number, number];
      const parts = laps.map((lap) => `  ${lap.name}: ${shown(lap)}`).join("\n");
      const above = megabytes - bare;
      console.log(`${subject.title}: ${shown({ wall, processor })}, ${converted} attentions converted\n${parts}`);
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
