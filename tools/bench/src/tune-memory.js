// What training steps of favor-tune take at a length: seconds a step, and the peak memory of the whole process.
//   node tools/bench/src/tune-memory.js <converted folder> <original> <data> <stage> <lengths, such as 4096,8192>
// Prints a Markdown table. One sequence a step, on wasm.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { tune } from "favor-tune";

const [source, teacher, data, stage, lengths, one] = process.argv.slice(2);
if (lengths === undefined) throw new Error("usage: tune-memory.js <converted> <original> <data> <stage> <lengths>");

if (one === undefined) {
  console.log("| tokens | stage | seconds a step | peak of the process, MB |");
  console.log("|---|---|---|---|");
  for (const length of lengths.split(",")) {
    const argv = [fileURLToPath(import.meta.url), source, teacher, data, stage, length, "one"];
    const child = spawnSync(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
    if (child.status !== 0) throw new Error(`${length} tokens: ended with status ${child.status}`);
    console.log(String(child.stdout).trim());
  }
} else {
  const scratch = mkdtempSync(join(tmpdir(), "favor-tune-memory-"));
  const steps = 2;
  const { favor } = await tune({
    source,
    // Without it, the softmax original is not run, whose own memory grows with the square of the length.
    ...(stage !== "mlm" && { teacher }),
    data,
    stage: stage.split(","),
    output: join(scratch, "tuned"),
    maxLength: Number(lengths),
    // So that sequences have this length.
    pack: true,
    steps,
    batch: 1,
    evalEvery: steps,
    evalCount: 1,
    backend: "wasm",
  });
  rmSync(scratch, { recursive: true });
  const seconds = favor.tuning.stages.reduce((sum, found) => sum + found.seconds, 0) / steps;
  const peak = process.resourceUsage().maxRSS / 1024;
  console.log(`| ${lengths} | ${stage} | ${seconds.toFixed(1)} | ${peak.toFixed(0)} |`);
}
