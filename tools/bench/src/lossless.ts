/**
 * Time and memory of exact attention, as an exporter writes it and as Favor writes it again: one forward pass of random
 * tokens at each length, in onnxruntime, with a padding mask in use.
 *
 *   npm run build && npm run lossless -w @favor/bench -- OUTPUT.json [MODEL.onnx...]
 *
 * Without a model, measures an encoder of BERT-base's shape with random weights; with `--modernbert` one of
 * ModernBERT-base's, whose windows are written as windows, and whose other layers are exact or linear. Memory is what one pass takes above the
 * loaded model, at its highest, in a process of its own (Linux only). Times are the shortest of several rounds; the
 * variants take turns within a round. Variants that need more than `--memory` GB are left out. `--lengths 512,2048` measures
 * at these lengths alone.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { RandomStream, streamPurpose } from "@favor/core";
import { onnxruntime } from "@favor/measure/onnxruntime";
import { openModel, writeModel } from "@favor/onnx/node";
import { convertAttention, type ConvertOptions } from "@favor/rewriter";
import type { LosslessResult } from "./lossless-table.ts";
import { modernBert } from "./modernbert-model.ts";
import { encoder, noise } from "./size-model.ts";

const lengths = [16, 64, 128, 256, 512, 1024, 2048, 4096, 8192];
/** Processes per variant, and passes in each: short inputs are quick, and need more. */
const roundsAt = (length: number): number => (length <= 1024 ? 3 : 2);
const passesAt = (length: number): number => (length <= 128 ? 30 : length <= 512 ? 10 : length <= 2048 ? 3 : 1);

interface Variant {
  readonly name: string;
  /** Undefined for the model as it is. */
  readonly options?: ConvertOptions;
  /** Whether memory grows with the square of the length. */
  readonly isQuadratic: boolean;
}

const variants: readonly Variant[] = [
  { name: "export", isQuadratic: true },
  { name: "exact, standard", options: { features: "exact" }, isQuadratic: false },
  { name: "exact, onnxruntime", options: { features: "exact", target: "onnxruntime" }, isQuadratic: false },
];

/** Of a model with windows. */
const windowVariants: readonly Variant[] = [
  { name: "export", isQuadratic: true },
  { name: "windows, rest exact", options: { features: "exact" }, isQuadratic: false },
  { name: "windows, rest 256 positive features", options: { features: "positive", count: 256 }, isQuadratic: false },
];

/** One form of a model at one length. */
interface Pass {
  readonly seconds: number;
  /** Above the loaded model. */
  readonly megabytes: number;
}

const megabytesOf = (field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))![1]) / 1024;

/** Forward passes at one length, after a short one: prints a {@link Pass} as JSON. */
async function run(model: string, length: number, threads: number): Promise<void> {
  const { InferenceSession, Tensor } = onnxruntime;
  const session = await InferenceSession.create(model, { intraOpNumThreads: threads });
  const random = new RandomStream({ seed: length, purpose: streamPurpose.sampling });
  const feedsOf = (count: number) => {
    const integers = (of: (i: number) => number) =>
      new Tensor(
        "int64",
        BigInt64Array.from({ length: count }, (_, i) => BigInt(of(i))),
        [1, count],
      );
    const drawn = (name: string) => {
      if (/mask/.test(name)) return integers((i) => Number(i < 0.9 * count));
      return integers(() => (/type|segment/.test(name) ? 0 : 1 + Math.floor(random.uniform() * 20)));
    };
    return Object.fromEntries(session.inputNames.map((name) => [name, drawn(name)]));
  };
  await session.run(feedsOf(16));
  const loaded = megabytesOf("VmRSS");
  // Peak memory is counted from here on.
  writeFileSync("/proc/self/clear_refs", "5");
  const feeds = feedsOf(length);
  let seconds = Infinity;
  for (let i = 0; i < passesAt(length); i++) {
    const begun = performance.now();
    await session.run(feeds);
    seconds = Math.min(seconds, (performance.now() - begun) / 1000);
  }
  console.log(JSON.stringify({ seconds, megabytes: megabytesOf("VmHWM") - loaded } satisfies Pass));
}

function passOf(model: string, length: number, threads: number): Pass | undefined {
  const args = [fileURLToPath(import.meta.url), "--run", model, String(length), "--threads", String(threads)];
  const { stdout, status } = spawnSync(process.execPath, args, { encoding: "utf8" });
  return status === 0 ? (JSON.parse(stdout.trim().split("\n").at(-1)!) as Pass) : undefined;
}

/** A model to measure, and in which forms. */
interface Subject {
  readonly title: string;
  readonly path: string;
  readonly variants: readonly Variant[];
  readonly lengths: readonly number[];
}

async function encoderOfModernBert(path: string): Promise<Subject> {
  await writeModel(modernBert(), path);
  const title = "encoder of ModernBERT-base's shape, random weights";
  return { title, path, variants: windowVariants, lengths: [128, 512, 2048, 8192] };
}

async function encoderOfBertBase(path: string): Promise<string> {
  const size = { layers: 12, hidden: 768, heads: 12, vocabulary: 30_522 };
  await writeModel(
    encoder(size, (bytes) => ({ source: { field: "rawData", range: noise(bytes) } })),
    path,
  );
  return path;
}

async function writeVariant(source: string, path: string, { options }: Variant, longest: number): Promise<string> {
  const opened = await openModel(source);
  try {
    const isGrown = opened.model.graph.input.length > 2;
    const { model } = convertAttention(opened.model, {
      ...(options ?? { keep: Array.from({ length: 1000 }, (_, layer) => layer) }),
      ...(isGrown && { maxLength: longest }),
    });
    await writeModel(model, path);
  } finally {
    opened.close();
  }
  return path;
}

/** The file's name after its folder's. */
const titleOf = (path: string): string => `${basename(dirname(resolve(path)))}/${basename(path)}`;

async function subjects(given: readonly string[], isModern: boolean, folder: string): Promise<Subject[]> {
  if (isModern) return [await encoderOfModernBert(join(folder, "modernbert.onnx"))];
  if (given.length > 0) return given.map((path) => ({ title: titleOf(path), path, variants, lengths }));
  const path = await encoderOfBertBase(join(folder, "base.onnx"));
  return [{ title: "BERT-base encoder, random weights", path, variants, lengths }];
}

interface Limits {
  readonly threads: number;
  readonly mostGigabytes: number;
  /** Undefined for the subject's own. */
  readonly lengths: readonly number[] | undefined;
}

async function measure(
  output: string,
  given: readonly string[],
  isModern: boolean,
  { threads, mostGigabytes, lengths: chosen }: Limits,
) {
  const folder = mkdtempSync(join(tmpdir(), "favor-lossless-"));
  const results: LosslessResult[] = [];
  try {
    for (const subject of await subjects(given, isModern, folder)) {
      const { title, path } = subject;
      const at = chosen ?? subject.lengths;
      const paths: string[] = [];
      for (const [i, variant] of subject.variants.entries())
        paths.push(await writeVariant(path, join(folder, `variant-${i}.onnx`), variant, at.at(-1)!));
      for (const [place, length] of at.entries()) {
        const best = subject.variants.map((): Pass => ({ seconds: Infinity, megabytes: Infinity }));
        for (let round = 0; round < roundsAt(length); round++)
          for (const [i, { isQuadratic }] of subject.variants.entries()) {
            const before = results.findLast((entry) => entry.title === title)?.passes[i]?.megabytes ?? 0;
            const growth = (length / (at[place - 1] ?? length)) ** 2;
            if (isQuadratic && growth * before > 1024 * mostGigabytes) continue;
            const pass = passOf(paths[i]!, length, threads);
            if (pass === undefined) continue;
            best[i] = {
              seconds: Math.min(best[i]!.seconds, pass.seconds),
              megabytes: Math.min(best[i]!.megabytes, pass.megabytes),
            };
          }
        const entry = {
          title,
          length,
          passes: best.map((pass, i) => ({ variant: subject.variants[i]!.name, ...pass })),
        };
        results.push(entry);
        process.stderr.write(`${JSON.stringify(entry)}\n`);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const machine = { processor: cpus()[0]!.model, processors: cpus().length, threads, node: process.version };
  writeFileSync(output, `${JSON.stringify({ machine, results }, undefined, 1)}\n`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    run: { type: "boolean", default: false },
    modernbert: { type: "boolean", default: false },
    threads: { type: "string", default: "1" },
    memory: { type: "string", default: "16" },
    lengths: { type: "string" },
  },
});
const [first, ...others] = positionals;
if (first === undefined) throw new Error("usage: lossless.js OUTPUT.json [MODEL.onnx...]");
if (values.run) await run(first, Number(others[0]), Number(values.threads));
else
  await measure(first, others, values.modernbert, {
    threads: Number(values.threads),
    mostGigabytes: Number(values.memory),
    lengths: values.lengths?.split(",").map(Number),
  });
