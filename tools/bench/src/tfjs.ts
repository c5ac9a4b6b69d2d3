#!/usr/bin/env node
// Times FAVOR and softmax in TensorFlow.js, with memory, by length: `node dist/tfjs.js [--backend wasm] [--lengths
// 256,1024] [--count 64] [--seconds 0.5] [--out out]`. Each cell is measured in a process of its own.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as tf from "@tensorflow/tfjs";
import { kinds, measureCase, passes } from "./tfjs-case.ts";
import type { Case, Cell, Pass } from "./tfjs-case.ts";
import { judgeTfjs, tfjsMarkdown } from "./tfjs-report.ts";
import type { TfjsReport } from "./tfjs-report.ts";

const { values } = parseArgs({
  options: {
    backend: { type: "string", default: "wasm" },
    lengths: { type: "string", default: "256,512,1024,2048,4096,8192,16384" },
    passes: { type: "string", default: passes.join(";") },
    heads: { type: "string", default: "4" },
    dim: { type: "string", default: "32" },
    count: { type: "string", default: "64" },
    seconds: { type: "string", default: "0.5" },
    out: { type: "string", short: "o", default: "out" },
    // a Case as JSON: measures it alone and prints the Cell
    case: { type: "string" },
  },
});

if (values.case) {
  console.log(`\n${JSON.stringify(await measureCase(JSON.parse(values.case) as Case))}`);
  // a graphics adapter keeps the process alive
  process.exit(0);
}

/** A cell by a process of its own; one that dies for want of memory leaves it empty. */
function measureApart(each: Case): Cell {
  const argv = ["--max-old-space-size=8192", process.argv[1]!, "--case", JSON.stringify(each)];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: "utf8", maxBuffer: 2 ** 26 });
  const line = stdout.trim().split("\n").at(-1) ?? "";
  if (status === 0 && line.startsWith("{")) return JSON.parse(line) as Cell;
  if (/memory|allocat/i.test(stderr)) return each;
  throw new Error(`${each.backend}, ${each.pass}, ${each.kind}, L = ${each.length}:\n${stderr}`);
}

function whole(name: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name}: expected a whole number, found "${text}"`);
  return number;
}

const wanted = values.passes.split(";");
for (const name of wanted) {
  if (!passes.includes(name as Pass))
    throw new Error(`--passes: expected some of "${passes.join(";")}", found "${name}"`);
}
const { backend } = values;
const sizes = {
  heads: whole("heads", values.heads),
  dim: whole("dim", values.dim),
  count: whole("count", values.count),
};
const machine = { processor: cpus()[0]?.model ?? "unknown", node: process.version, load: loadavg()[0]! };
const cells: Cell[] = [];
for (const length of values.lengths.split(",").map((text) => whole("lengths", text))) {
  for (const pass of passes.filter((name) => wanted.includes(name))) {
    for (const kind of kinds) {
      const cell = measureApart({ backend, pass, kind, length, ...sizes, seconds: Number(values.seconds) });
      console.error(`L ${length}, ${pass}, ${kind}: ${cell.milliseconds?.toFixed(1) ?? "no memory"}`);
      cells.push(cell);
    }
  }
}
const goals = backend === "wasm" ? judgeTfjs(cells) : [];
const report: TfjsReport = { backend, tfjs: tf.version.tfjs, machine, cells, goals };
mkdirSync(values.out, { recursive: true });
writeFileSync(join(values.out, `tfjs-${backend}.json`), `${JSON.stringify(report, undefined, 1)}\n`);
const text = tfjsMarkdown(report);
writeFileSync(join(values.out, `tfjs-${backend}.md`), text);
console.log(text);
