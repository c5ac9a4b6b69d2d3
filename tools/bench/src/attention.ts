#!/usr/bin/env node
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { timeFavor } from "./favor.ts";
import { simdPeak } from "./peak.ts";
import { plot } from "./plot.ts";
import { pythonEnvironment, timePython } from "./python.ts";
import { judge, markdown, timeOf } from "./report.ts";
import type { Report } from "./report.ts";
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
const report: Report = {
  setting,
  machine: {
    processor: cpus()[0]?.model ?? "unknown",
    load,
    node: process.version,
    kernels: favor.kernels,
    torch: python?.torch,
    rates: { favorProducts: rate, simdPeak: peak, sgemm: python?.sgemm },
  },
  timings,
  goals,
};

mkdirSync(values.out, { recursive: true });
const title = `Attention, ${setting.heads} heads of ${setting.dim}, M = ${setting.count}`;
writeFileSync(join(values.out, "attention.json"), `${JSON.stringify(report, null, 2)}\n`);
writeFileSync(join(values.out, "attention.md"), markdown(report));
writeFileSync(join(values.out, "attention.svg"), plot(timings, title));
console.log(markdown(report));
