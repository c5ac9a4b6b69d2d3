import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Outcome } from "./case.ts";

export interface FuzzRun {
  readonly seed: number;
  /** First case, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** A folder. */
  readonly corpus: string;
  readonly convert: boolean;
  /** The command that runs a case again, without its number. */
  readonly rerun: string;
}

const longest = 1;
const largest = 500;
/** A case hangs if it reports nothing for so many seconds of wall time. */
const patience = 30;

interface Message {
  readonly index: number;
  readonly outcome?: Outcome;
  readonly megabytes?: number;
}

/** Runs all cases in processes of their own, prints every finding and a summary; returns false if there were findings. */
export async function runAll(run: FuzzRun): Promise<boolean> {
  const results = new Map<string, number>();
  const findings = new Map<string, number>();
  let [slowest, most, done] = [0, 0, 0];
  const report = (index: number, what: string, detail = ""): void => {
    const key = `${what} ${detail.split("\n").slice(0, 2).join(" ")}`;
    const times = (findings.get(key) ?? 0) + 1;
    findings.set(key, times);
    if (times <= 3) console.log(`${what}: ${run.rerun} --case ${index}\n${detail.split("\n").slice(0, 8).join("\n")}`);
  };
  for (let from = run.from; from < run.to;) {
    const last = await runPart({ ...run, from }, ({ index, outcome, megabytes = 0 }) => {
      if (outcome === undefined) return false;
      done++;
      results.set(outcome.result, (results.get(outcome.result) ?? 0) + 1);
      slowest = Math.max(slowest, outcome.seconds);
      most = Math.max(most, megabytes);
      if (outcome.result === "crash") report(index, "Crash", outcome.stack);
      if (outcome.seconds > longest) report(index, "Slow", `${outcome.seconds.toFixed(2)} s, made of ${outcome.name}`);
      if (megabytes > largest) report(index, "Large", `${megabytes.toFixed(0)} MB, made of ${outcome.name}`);
      if (done % 1000 === 0) console.log(`${index + 1} of ${run.to}`);
      return megabytes > largest;
    });
    if (last.died !== undefined) report(last.index, last.died);
    from = last.index + 1;
  }
  const counts = [...results].toSorted(([, a], [, b]) => b - a).map(([result, count]) => `${count} ${result}`);
  console.log(`${done} cases: ${counts.join(", ")}. Slowest ${slowest.toFixed(2)} s, at most ${most.toFixed(0)} MB.`);
  console.log(findings.size === 0 ? "No findings." : `${findings.size} findings.`);
  return findings.size === 0;
}

/** Runs cases in one process until it has done all, dies, hangs, or `next` says to go on in a fresh one. */
function runPart(
  { seed, from, to, corpus, convert }: FuzzRun,
  next: (message: Message) => boolean,
): Promise<{ index: number; died?: string }> {
  const args = ["--child", "--seed", seed, "--from", from, "--to", to, "--corpus", corpus].map(String);
  const child = spawn(
    process.execPath,
    ["--max-old-space-size=400", fileURLToPath(import.meta.url), ...args, ...(convert ? ["--convert"] : [])],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  return new Promise((resolve, reject) => {
    let index = from;
    let isFinished = false;
    let hung = false;
    let ended = false;
    const kill = (): void => {
      hung = true;
      child.kill("SIGKILL");
    };
    let timer = setTimeout(kill, 2 * patience * 1000);
    createInterface(child.stdout)
      .on("line", (line) => {
        if (ended) return;
        clearTimeout(timer);
        timer = setTimeout(kill, patience * 1000);
        const message = JSON.parse(line) as Message;
        ({ index } = message);
        isFinished = message.outcome !== undefined;
        if (next(message)) {
          ended = true;
          child.kill("SIGKILL");
        }
      })
      .on("close", () => {
        clearTimeout(timer);
        if (hung) resolve({ index, died: "Hang" });
        else if (isFinished || ended) resolve({ index });
        else resolve({ index, died: "Death" });
      });
    child.on("error", reject);
  });
}
