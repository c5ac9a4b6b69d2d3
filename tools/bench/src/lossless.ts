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
 * at these lengths alone. `--once` runs one pass of each form.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { onnxruntime } from "@favor/measure/onnxruntime";
import { subjects, writeVariant } from "./lossless-subjects.ts";
import type { LosslessResult } from "./lossless-table.ts";
import { randomTokens } from "./random-tokens.ts";

/** Processes per variant, and passes in each: short inputs are quick, and need more. */
const roundsAt = (length: number): number => (length <= 1024 ? 3 : 2);
const passesAt = (length: number): number => (length <= 128 ? 30 : length <= 512 ? 10 : length <= 2048 ? 3 : 1);

/** One form of a model at one length. */
interface Pass {
  readonly seconds: number;
  /** Above the loaded model. */
  readonly megabytes: number;
}

const megabytesOf = (field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync("/proc/self/status", "utf8"))![1]) / 1024;

/** Forward passes at one length, after a short one: prints a {@link Pass} as JSON. */
async function run(model: string, length: number, threads: number, passes: number): Promise<void> {
  const { InferenceSession, Tensor } = onnxruntime;
  const session = await InferenceSession.create(model, { intraOpNumThreads: threads });
  const feedsOf = (count: number) => {
    const tokens = Object.entries(randomTokens(session.inputNames, count));
    return Object.fromEntries(tokens.map(([name, data]) => [name, new Tensor("int64", data, [1, count])]));
  };
  await session.run(feedsOf(16));
  const loaded = megabytesOf("VmRSS");
  // Peak memory is counted from here on.
  writeFileSync("/proc/self/clear_refs", "5");
  const feeds = feedsOf(length);
  let seconds = Infinity;
  for (let i = 0; i < passes; i++) {
    const begun = performance.now();
    await session.run(feeds);
    seconds = Math.min(seconds, (performance.now() - begun) / 1000);
  }
  console.log(JSON.stringify({ seconds, megabytes: megabytesOf("VmHWM") - loaded } satisfies Pass));
}

function passOf(model: string, length: number, threads: number, passes: number): Pass | undefined {
  const settings = ["--threads", String(threads), "--passes", String(passes)];
  const args = [fileURLToPath(import.meta.url), "--run", model, String(length), ...settings];
  const { stdout, status } = spawnSync(process.execPath, args, { encoding: "utf8" });
  return status === 0 ? (JSON.parse(stdout.trim().split("\n").at(-1)!) as Pass) : undefined;
}

interface Limits {
  readonly threads: number;
  readonly mostGigabytes: number;
  /** Undefined for the subject's own. */
  readonly lengths: readonly number[] | undefined;
  /** One process of each form and one pass in it: for a look at the memory. */
  readonly isOnce: boolean;
}

async function measure(
  output: string,
  given: readonly string[],
  isModern: boolean,
  { threads, mostGigabytes, lengths: chosen, isOnce }: Limits,
) {
  const folder = mkdtempSync(join(tmpdir(), "favor-lossless-"));
  const results: LosslessResult[] = [];
  try {
    for (const subject of await subjects({ given, isModern, folder })) {
      const { title, path } = subject;
      const at = chosen ?? subject.lengths;
      const paths: string[] = [];
      for (const [i, variant] of subject.variants.entries())
        paths.push(await writeVariant(path, join(folder, `variant-${i}.onnx`), variant, at.at(-1)!));
      for (const [place, length] of at.entries()) {
        const best = subject.variants.map((): Pass => ({ seconds: Infinity, megabytes: Infinity }));
        for (let round = 0; round < (isOnce ? 1 : roundsAt(length)); round++)
          for (const [i, { isQuadratic }] of subject.variants.entries()) {
            const before = results.findLast((entry) => entry.title === title)?.passes[i]?.megabytes ?? 0;
            const growth = (length / (at[place - 1] ?? length)) ** 2;
            if (isQuadratic && growth * before > 1024 * mostGigabytes) continue;
            const pass = passOf(paths[i]!, length, threads, isOnce ? 1 : passesAt(length));
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
    once: { type: "boolean", default: false },
    passes: { type: "string", default: "1" },
  },
});
const [first, ...others] = positionals;
if (first === undefined) throw new Error("usage: lossless.js OUTPUT.json [MODEL.onnx...]");
if (values.run) await run(first, Number(others[0]), Number(values.threads), Number(values.passes));
else
  await measure(first, others, values.modernbert, {
    threads: Number(values.threads),
    mostGigabytes: Number(values.memory),
    lengths: values.lengths?.split(",").map(Number),
    isOnce: values.once,
  });
