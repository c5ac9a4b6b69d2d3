#!/usr/bin/env node
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { timeFavor } from "./favor.ts";
import { simdPeak } from "./peak.ts";
import { plot } from "./plot.ts";
import { pythonEnvironment, timePython } from "./python.ts";
import { judge, table, timeOf } from "./report.ts";
import { favorOperations } from "./timing.ts";
import type { Setting } from "./timing.ts";

const { values } = parseArgs({
  options: {
    lengths: { type: "string", default: "512,1024,2048,4096,8192,16384" },
    heads: { type: "string", default: "8" },
    dim: { type: "string", default: "64" },
    count: { type: "string", default: "128" },
    seconds: { type: "string", default: "1" },
    out: { type: "string", short: "o", default: "out" },
    "no-python": { type: "boolean", default: false },
  },
});

function whole(name: string, text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name}: expected a whole number, found "${text}"`);
  return number;
}

const setting: Setting = {
  heads: whole("heads", values.heads),
  dim: whole("dim", values.dim),
  count: whole("count", values.count),
  lengths: values.lengths.split(",").map((length) => whole("lengths", length)),
  seconds: Number(values.seconds),
};

const load = loadavg()[0]!;
const favor = await timeFavor(setting);
const peak = await simdPeak(favor.kernels === "relaxed-simd", setting.seconds);
const python = values["no-python"] ? undefined : timePython(pythonEnvironment(), setting);
const timings = [...favor.timings, ...(python?.timings ?? [])];
const goals = judge(timings);

const longest = Math.max(...setting.lengths);
const rate = favorOperations(setting, longest) / timeOf(timings, "favor", false, longest)! / 1e6;
const machine = {
  processor: cpus()[0]?.model ?? "unknown",
  /** Of the minute before the start: others' programs. */
  load,
  node: process.version,
  kernels: favor.kernels,
  torch: python?.torch,
  /** GFLOP/s on one thread. */
  rates: { favorProducts: rate, simdPeak: peak, sgemm: python?.sgemm },
};

mkdirSync(values.out, { recursive: true });
const title = `Attention, ${setting.heads} heads of ${setting.dim}, M = ${setting.count}, one thread`;
writeFileSync(join(values.out, "attention.json"), `${JSON.stringify({ setting, machine, timings, goals }, null, 2)}\n`);
writeFileSync(join(values.out, "attention.svg"), plot(timings, title));

console.log(
  `${title}; ${machine.processor}, Node ${machine.node}, kernels: ${favor.kernels}, load ${load.toFixed(1)} before`,
);
console.log("milliseconds (times FAVOR's)\n");
console.log(table(timings));
for (const { statement, measured, met } of goals) {
  console.log(`${met ? "met    " : "not met"}  ${measured.toFixed(2).padStart(6)}  ${statement}`);
}
const share = (of: number | undefined): string => (of === undefined ? "-" : `${((100 * rate) / of).toFixed(0)} %`);
console.log(
  `\nFAVOR's products alone at L = ${longest}: ${rate.toFixed(1)} GFLOP/s of the whole time, ` +
    `${share(peak)} of WebAssembly's peak (${peak.toFixed(1)}), ${share(python?.sgemm)} of native sgemm (${python?.sgemm.toFixed(1) ?? "-"}).`,
);
