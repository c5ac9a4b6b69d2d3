/**
 * Time of one hybrid attention against exact attention and plain FAVOR, in onnxruntime on one thread: without projections,
 * on random rows.
 *
 *   npm run build && npm run hybrid -w @favor/bench -- OUTPUT.json [--rounds 5] [--longest 8192]
 *
 * Exact attention is com.microsoft.MultiHeadAttention, which onnxruntime runs tile by tile. The variants take turns within a
 * round; a time is the shortest of all rounds, of the processor and not of the clock. Prints a Markdown table for each setting.
 */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { RandomStream, streamPurpose } from "@favor/core";
import { onnxruntime } from "@favor/measure/onnxruntime";
import { encodeModel } from "@favor/onnx";
import { convertAttention, type ConvertOptions } from "@favor/rewriter";
import { attentionModel, landmarksOf, type AttentionSize } from "./hybrid-model.ts";

interface Setting {
  readonly title: string;
  readonly size: AttentionSize;
  readonly count: number;
  readonly window: number;
  readonly chosenBlocks: number;
}

/** The settings of the quality table for long inputs (long-code), and for models of 512 positions (MiniLM). */
const settings: readonly Setting[] = [
  {
    title: "8 heads of 64; blocks of 64: near and 8 chosen; 32 landmarks",
    size: { heads: 8, dim: 64, padding: false },
    count: 32,
    window: 64,
    chosenBlocks: 8,
  },
  {
    title: "12 heads of 32, padding mask in use; blocks of 32: near; 32 landmarks",
    size: { heads: 12, dim: 32, padding: true },
    count: 32,
    window: 32,
    chosenBlocks: 0,
  },
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "5" }, longest: { type: "string", default: "8192" } },
});
const [output] = positionals;
if (output === undefined) throw new Error("usage: hybrid OUTPUT.json [--rounds 5] [--longest 8192]");
const lengths = [16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384].filter((each) => each <= Number(values.longest));
/** Runs for each time: short inputs are quick. */
const runsAt = (length: number): number => Math.max(1, Math.round(2048 / length));

const names = ["exact", "FAVOR", "hybrid"] as const;

function variants({ size, count, window, chosenBlocks }: Setting): readonly ConvertOptions[] {
  const featureMaps = [Array.from({ length: size.heads }, (_, head) => landmarksOf(size.dim, count, head))];
  return [
    { features: "exact", target: "onnxruntime" },
    { featureMaps },
    { featureMaps, exactKeys: { window, chosenBlocks } },
  ];
}

type Session = Awaited<ReturnType<typeof onnxruntime.InferenceSession.create>>;
type Feeds = Parameters<Session["run"]>[0];

function feedsOf({ heads, dim, padding }: AttentionSize, length: number): Feeds {
  const random = new RandomStream({ seed: length, purpose: streamPurpose.sampling });
  const width = 3 * heads * dim;
  const rows = Float32Array.from({ length: length * width }, () => random.gaussian());
  // The last tenth is padding.
  const mask = BigInt64Array.from({ length }, (_, i) => BigInt(i < 0.9 * length));
  return {
    rows: new onnxruntime.Tensor("float32", rows, [1, length, width]),
    ...(padding && { mask: new onnxruntime.Tensor("int64", mask, [1, length]) }),
  };
}

/** Milliseconds of processor time for one run, of each session, the shortest of several rounds. */
async function timesOf(sessions: readonly Session[], feeds: Feeds, runs: number): Promise<number[]> {
  const best = sessions.map(() => Infinity);
  for (const session of sessions) await session.run(feeds);
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [i, session] of sessions.entries()) {
      const before = process.cpuUsage();
      for (let run = 0; run < runs; run++) await session.run(feeds);
      const { user, system } = process.cpuUsage(before);
      best[i] = Math.min(best[i]!, (user + system) / 1000 / runs);
    }
  }
  return best;
}

const results = [];
for (const setting of settings) {
  const sessions: Session[] = [];
  for (const options of variants(setting)) {
    const { model } = convertAttention(attentionModel(setting.size), options);
    sessions.push(await onnxruntime.InferenceSession.create(encodeModel(model), { intraOpNumThreads: 1 }));
  }
  console.log(`\n${setting.title}; milliseconds, and as a share of exact attention\n`);
  console.log(`| tokens | ${names.join(" | ")} |`);
  console.log(`| --- | ${names.map(() => "---").join(" | ")} |`);
  for (const length of lengths) {
    const times = await timesOf(sessions, feedsOf(setting.size, length), runsAt(length));
    const cells = times.map((time) => `${time.toPrecision(3)} (${(time / times[0]!).toFixed(2)})`);
    console.log(`| ${length} | ${cells.join(" | ")} |`);
    results.push({ ...setting, length, milliseconds: Object.fromEntries(names.map((name, i) => [name, times[i]!])) });
  }
}
const machine = { processor: cpus()[0]!.model, processors: cpus().length, threads: 1, node: process.version };
writeFileSync(output, `${JSON.stringify({ machine, results }, undefined, 1)}\n`);
