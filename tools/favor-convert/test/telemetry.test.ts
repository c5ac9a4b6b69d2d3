import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { tiny, validation } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const speedChild = fileURLToPath(new URL("../dist/speed-child.js", import.meta.url));
const loader = new URL("../../../packages/measure/dist/runs/onnxruntime.js", import.meta.url);
const isBuilt = [cli, speedChild, fileURLToPath(loader)].every((path) => existsSync(path));

const works = (command: string, ...argv: string[]): boolean => spawnSync(command, argv).status === 0;
/** Linux tools: a network without any other machine, and a list of the calls that would use it. */
const hasTools = works("unshare", "-rn", "strace", "-f", "-e", "trace=network", "true");

interface Watched {
  readonly status: number | null;
  readonly stdout: string;
  /** Calls for sockets that lead out of the machine. */
  readonly sockets: readonly string[];
  /** Files in the home folder and in the folder for temporary ones. */
  readonly files: readonly string[];
}

/** Runs Node with fresh folders, without the variable that would switch telemetry off, and lists what it left and asked. */
async function watched(argv: readonly string[]): Promise<Watched> {
  const folder = await temporaryFolder();
  const [home, temporary, trace] = ["home", "temporary", "trace"].map((name) => join(folder, name));
  await mkdir(home!);
  await mkdir(temporary!);
  const { ORT_DISABLE_TELEMETRY: _, CI: __, ...rest } = process.env;
  const { status, stdout } = spawnSync(
    "unshare",
    ["-rn", "strace", "-f", "-e", "trace=network", "-o", trace!, process.execPath, ...argv],
    { env: { ...rest, HOME: home, TMPDIR: temporary }, encoding: "utf8" },
  );
  const sockets = (await readFile(trace!, "utf8"))
    .split("\n")
    .filter((line) => /AF_(INET6?|NETLINK|PACKET)/.test(line));
  const files = await Promise.all([home!, temporary!].map((each) => readdir(each, { recursive: true })));
  return { status, stdout, sockets, files: files.flat() };
}

const quiet = { status: 0, sockets: [], files: [] };

describe.skipIf(!isBuilt || !hasTools)("nothing is sent (needs `npm run build`, unshare and strace)", () => {
  const open = `
    const model = ${JSON.stringify(join(tiny, "onnx", "model.onnx"))};
    const session = await onnxruntime.InferenceSession.create(model, { intraOpNumThreads: 1 });
    await new Promise((resolve) => setTimeout(resolve, 500));
    await session.release();`;

  test("onnxruntime alone does leave traces: the test sees them", async () => {
    const load = `import * as onnxruntime from "onnxruntime-node";`;
    const found = await watched(["--input-type=module", "-e", load + open]);
    expect(found.files.join("\n")).toContain("deviceid");
  });

  test("@favor/measure loads it without", async () => {
    const load = `import { onnxruntime } from ${JSON.stringify(loader.href)};`;
    expect(await watched(["--input-type=module", "-e", load + open])).toMatchObject(quiet);
  });

  test("nor does a conversion with its workers, nor the child that times a model", async () => {
    const out = join(await temporaryFolder(), "out");
    const options = ["--count", "8", "--calibrate", validation, "--calibrate-count", "4", "--evaluate", validation];
    const argv = [
      cli,
      tiny,
      "-o",
      out,
      ...options,
      "--evaluate-count",
      "4",
      "--threads",
      "2",
      "--speed",
      "none",
      "--quiet",
    ];
    expect(await watched(argv)).toMatchObject(quiet);
    const task = { model: join(tiny, "onnx", "model.onnx"), length: 16, vocabulary: 20, threads: 1, runs: 1 };
    expect(await watched([speedChild, JSON.stringify(task)])).toMatchObject(quiet);
  });
});
