import { execFile } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";

import { diskContent } from "./content.ts";
import { HubServer } from "./server.ts";

// Downloads one large LFS file from this server with @favor/hub and with Python's huggingface_hub, in turn, each time
// in a fresh process with an empty cache, and prints times, peak memory and ratios. Python checks only the size;
// @favor/hub's times include its sha256. What node:http takes to receive the bytes and drop them, neither written nor
// hashed, is the least that any client in Node takes here.
const { values } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    megabytes: { type: "string", default: "1000" },
    rounds: { type: "string", default: "3" },
    // Megabytes per second of each connection, as a distant storage has a limit.
    rate: { type: "string" },
  },
});

/** What a client measures of itself: seconds and processor seconds of the download alone, peak resident memory. */
interface Measured {
  readonly seconds: number;
  readonly processor: number;
  readonly megabytes: number;
}

const hubPackage = fileURLToPath(new URL("../../../packages/hub", import.meta.url));

function favorProgram(connections: number): string {
  return `
    import { openHub } from "@favor/hub/node";
    const hub = openHub({ connections: ${connections} });
    const started = performance.now();
    const before = process.cpuUsage();
    await hub.file("bench/large", "model.safetensors");
    const seconds = (performance.now() - started) / 1000;
    const used = process.cpuUsage(before);
    const processor = (used.user + used.system) / 1e6;
    console.log(JSON.stringify({ seconds, processor, megabytes: process.resourceUsage().maxRSS / 1024 }));`;
}

function sinkProgram(connections: number): string {
  return `
    import { get } from "node:http";
    const url = process.env.HF_ENDPOINT + "/bench/large/resolve/main/model.safetensors";
    const started = performance.now();
    const before = process.cpuUsage();
    const answer = (url, headers) => new Promise((resolve, reject) => get(url, { headers }, resolve).on("error", reject));
    const { headers } = await answer(url, {});
    const size = Number(headers["x-linked-size"]);
    const drop = async (index) => {
      const [start, end] = [index, index + 1].map((at) => Math.floor((at * size) / ${connections}));
      const response = await answer(headers.location, { range: "bytes=" + start + "-" + (end - 1) });
      await new Promise((resolve, reject) => response.on("data", () => {}).on("end", resolve).on("error", reject));
    };
    await Promise.all(Array.from({ length: ${connections} }, (_, index) => drop(index)));
    const seconds = (performance.now() - started) / 1000;
    const used = process.cpuUsage(before);
    const processor = (used.user + used.system) / 1e6;
    console.log(JSON.stringify({ seconds, processor, megabytes: process.resourceUsage().maxRSS / 1024 }));`;
}

const pythonProgram = `
import json, resource, time
from huggingface_hub import hf_hub_download
started, before = time.perf_counter(), time.process_time()
hf_hub_download("bench/large", "model.safetensors")
seconds, processor = time.perf_counter() - started, time.process_time() - before
print(json.dumps({"seconds": seconds, "processor": processor, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))`;

const clients: Readonly<Record<string, readonly [command: string, ...args: string[]]>> = {
  huggingface_hub: [values.python, "-c", pythonProgram],
  "@favor/hub, one connection": [process.execPath, "--input-type=module", "-e", favorProgram(1)],
  "@favor/hub, four ranges": [process.execPath, "--input-type=module", "-e", favorProgram(4)],
  "dropped, one connection": [process.execPath, "--input-type=module", "-e", sinkProgram(1)],
  "dropped, four ranges": [process.execPath, "--input-type=module", "-e", sinkProgram(4)],
};

const folder = await mkdtemp(join(tmpdir(), "hub-bench-"));
try {
  const source = join(folder, "model.safetensors");
  await writeNoise(source, Number(values.megabytes));
  const files = { "model.safetensors": diskContent(source, "lfs") };
  const rate = values.rate === undefined ? {} : { connectionRate: Number(values.rate) * 1e6 };
  const server = await HubServer.start({ repositories: [{ id: "bench/large", files }], ...rate });
  const results = new Map<string, Measured[]>(Object.keys(clients).map((name) => [name, []]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, client] of Object.entries(clients)) {
      results.get(name)!.push(await measure(client, server.endpoint, join(folder, "cache")));
    }
  }
  await server.close();
  report(results, Number(values.megabytes));
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function writeNoise(path: string, megabytes: number): Promise<void> {
  const file = await open(path, "w");
  const block = new Uint8Array(1_000_000);
  for (let index = 0; index < megabytes; index++) await file.write(randomFillSync(block));
  await file.close();
}

async function measure([command, ...args]: readonly string[], endpoint: string, cache: string): Promise<Measured> {
  const environment = {
    PATH: process.env["PATH"],
    HF_HOME: cache,
    HF_ENDPOINT: endpoint,
    HF_HUB_DISABLE_XET: "1",
    HF_HUB_DISABLE_PROGRESS_BARS: "1",
    HF_HUB_DISABLE_TELEMETRY: "1",
    HF_HUB_DISABLE_UPDATE_CHECK: "1",
  };
  const { stdout } = await promisify(execFile)(command!, args, { env: environment, cwd: hubPackage });
  await rm(cache, { recursive: true, force: true });
  return JSON.parse(stdout) as Measured;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
}

function report(results: ReadonlyMap<string, readonly Measured[]>, megabytes: number): void {
  const reference = median(results.get("huggingface_hub")!.map(({ seconds }) => seconds));
  const limit = values.rate === undefined ? "" : `, ${values.rate} MB/s per connection`;
  console.log(
    `${megabytes} MB on loopback${limit}, median of ${results.get("huggingface_hub")!.length} (all: seconds)`,
  );
  for (const [name, measured] of results) {
    const seconds = median(measured.map((one) => one.seconds));
    const all = measured.map((one) => one.seconds.toFixed(2)).join(" ");
    const processor = median(measured.map((one) => one.processor));
    const peak = Math.max(...measured.map((one) => one.megabytes));
    console.log(
      `${name.padEnd(28)} ${seconds.toFixed(2)} s  ${(megabytes / seconds).toFixed(0)} MB/s  ` +
        `${(reference / seconds).toFixed(2)}x  processor ${processor.toFixed(2)} s  peak ${peak.toFixed(0)} MB  (${all})`,
    );
  }
}
