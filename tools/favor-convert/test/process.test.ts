import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { measureSpeed } from "../src/speed/speed.ts";
import { tiny, validation } from "@favor/test-support/antibody";
import { temporaryFile, temporaryFolder } from "@favor/test-support/temporary-folder";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a shell command with `$cli` and `$tiny` set; `on` sees stderr as it grows. */
async function shell(
  command: string,
  variables: Record<string, string> = {},
  on: (stderr: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Ended> {
  const child = spawn("bash", ["-c", command], { env: { ...process.env, cli, tiny, validation, ...variables } });
  const text = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (text.stdout += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => {
    text.stderr += chunk.toString("utf8");
    on(text.stderr, (signal) => child.kill(signal));
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (status, signal) => resolve({ status, signal, ...text }));
  });
}

/** Data that takes half a minute to evaluate: a signal comes before its end however late it is. */
async function longData(): Promise<string> {
  return temporaryFile("long.fasta", (await readFile(validation, "utf8")).repeat(15));
}

describe.skipIf(!existsSync(cli))("the built command line (needs `npm run build`)", () => {
  test("converts in a process of its own", async () => {
    const out = join(await temporaryFolder(), "out");
    const ended = await shell('node "$cli" "$tiny" -o "$out" --count 16 --quiet', { out });
    expect(ended).toMatchObject({ status: 0, stderr: "" });
    expect(existsSync(join(out, "onnx", "model.onnx"))).toBe(true);
  });

  test("threads do not change what is fitted", async () => {
    const parent = await temporaryFolder();
    const options = "--calibrate $validation --calibrate-count 4 --count 8 --quiet";
    for (const threads of [1, 3]) {
      const ended = await shell(`node "$cli" "$tiny" -o "$out" ${options} --threads ${threads}`, {
        out: join(parent, `${threads}`),
      });
      expect(ended.stderr).toMatch(/^Warning: Calibration sees only 4 sequences[^\n]*\n$/);
      expect(ended.status).toBe(0);
    }
    const [one, three] = await Promise.all(
      [1, 3].map((threads) => readFile(join(parent, `${threads}`, "onnx", "model.onnx"))),
    );
    expect(three!.equals(one!)).toBe(true);
  });

  test("exit codes: 2 for usage, 3 for input", async () => {
    expect((await shell('node "$cli" --nonsense')).status).toBe(2);
    expect((await shell('node "$cli" inspect /nowhere')).status).toBe(3);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s leaves nothing behind", async (signal) => {
    const parent = await temporaryFolder();
    let seen: string[] = [];
    const ended = await shell(
      'exec node "$cli" "$tiny" -o "$out" --count 16 --evaluate "$data" --evaluate-count 100000 --threads 1',
      { out: join(parent, "made", "out"), data: await longData() },
      (stderr, kill) => {
        if (!stderr.includes("Evaluating the original") || seen.length > 0) return;
        void readdir(join(parent, "made")).then((names) => {
          seen = names;
          kill(signal);
        });
      },
    );
    // It was under way when the signal came.
    expect(seen).toEqual([expect.stringMatching(/^\.out\.partial-/)]);
    expect(ended).toMatchObject({ signal, stdout: "" });
    expect(ended.stderr).toMatch(/\nInterrupted, nothing written\.\n$/);
    expect(await readdir(parent)).toEqual([]);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "%s during verify removes the graph built from weights",
    async (signal) => {
      const [parent, weights, temporary] = [await temporaryFolder(), await temporaryFolder(), await temporaryFolder()];
      for (const name of ["config.json", "vocab.txt", "tokenizer.json", "model.safetensors"]) {
        await copyFile(join(tiny, name), join(weights, name));
      }
      const variables = { weights, out: join(parent, "out"), data: await longData(), TMPDIR: temporary };
      const evaluated = '--evaluate "$data" --evaluate-count 1';
      expect((await shell(`node "$cli" "$weights" -o "$out" --count 16 ${evaluated} --quiet`, variables)).status).toBe(
        0,
      );
      // verify evaluates as many as the conversion did.
      const favor = join(variables.out, "favor.json");
      await writeFile(favor, (await readFile(favor, "utf8")).replace('"sequences": 1,', '"sequences": 100000,'));
      // onnxruntime leaves files of its own there.
      const ours = async (): Promise<string[]> =>
        (await readdir(temporary)).filter((name) => name.startsWith("favor-"));
      let seen: string[] = [];
      const ended = await shell(
        'exec node "$cli" verify "$weights" "$out" --data "$data" --threads 1',
        variables,
        (stderr, kill) => {
          if (!stderr.includes("Evaluating the original") || seen.length > 0) return;
          void ours().then((names) => {
            seen = names;
            kill(signal);
          });
        },
      );
      expect(seen).toEqual([expect.stringMatching(/^favor-model-/)]);
      expect(ended).toMatchObject({ signal, stdout: "" });
      expect(await ours()).toEqual([]);
    },
  );

  test("Ctrl-C keeps what others put into a folder that was made on the way", async () => {
    const parent = await temporaryFolder();
    const made = join(parent, "made");
    let isInterrupted = false;
    const ended = await shell(
      'exec node "$cli" "$tiny" -o "$out" --count 16 --evaluate "$data" --evaluate-count 100000 --threads 1',
      { out: join(made, "deep", "out"), data: await longData() },
      (stderr, kill) => {
        if (!stderr.includes("Evaluating the original") || isInterrupted) return;
        isInterrupted = true;
        void writeFile(join(made, "thesis.tex"), "theirs").then(() => kill("SIGINT"));
      },
    );
    expect(ended.signal).toBe("SIGINT");
    expect(await readdir(made)).toEqual(["thesis.tex"]);
  });

  test("nobody reads stderr: the work is done all the same", async () => {
    const out = join(await temporaryFolder(), "out");
    const argv = [cli, tiny, "-o", out, "--count", "16", "--json"];
    const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "pipe"] });
    child.stderr.destroy();
    let stdout = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString("utf8")));
    const status = await new Promise((resolve) => child.on("close", resolve));
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ folder: out });
    const refused = spawn(process.execPath, [cli, "/nowhere", "-o", out], { stdio: ["ignore", "ignore", "pipe"] });
    refused.stderr.destroy();
    expect(await new Promise((resolve) => refused.on("close", resolve))).toBe(3);
  });

  test("--force: says what it keeps, and writes the same bytes again", async () => {
    const out = join(await temporaryFolder(), "out");
    const command = 'node "$cli" "$tiny" -o "$out" --count 16 --force';
    expect((await shell(command, { out })).status).toBe(0);
    const favor = await readFile(join(out, "favor.json"), "utf8");
    await writeFile(join(out, "notes.txt"), "theirs");
    const ended = await shell(command, { out });
    expect(ended.status).toBe(0);
    expect(ended.stderr).toContain(`Favor did not write notes.txt in ${out}: kept.\n`);
    expect(await readFile(join(out, "notes.txt"), "utf8")).toBe("theirs");
    expect(await readFile(join(out, "favor.json"), "utf8")).toBe(favor);
    await writeFile(join(out, "README.md"), "my card");
    const refused = await shell(command, { out });
    expect(refused).toMatchObject({ status: 2, stdout: "" });
    expect(refused.stderr).toMatch(
      /^favor-convert: .*out holds README\.md, which Favor did not write or somebody changed/,
    );
    expect(await readFile(join(out, "README.md"), "utf8")).toBe("my card");
  });

  test("a reader that goes away is no error", async () => {
    const ended = await shell('node "$cli" inspect "$tiny" --json | head -c 1; echo " ${PIPESTATUS[0]}"');
    expect(ended).toMatchObject({ status: 0, stdout: "{ 0\n", stderr: "" });
  });

  test("a disk that refuses in the middle of the model: one paragraph, exit code 1, nothing left", async () => {
    const parent = await temporaryFolder();
    // No file above 1 MB: writing the model of 3.6 MB fails half-way as it does on a full disk.
    const ended = await shell('ulimit -f 1000; node "$cli" "$tiny" -o "$out" --quiet', { out: join(parent, "out") });
    expect(ended.status).toBe(1);
    expect(ended.stderr).toMatch(/^favor-convert: .*out cannot be written \(EFBIG.*Nothing was left behind\.\n$/);
    expect(await readdir(parent)).toEqual([]);
  });

  test("a place that cannot be written: exit code 1", async () => {
    const ended = await shell('node "$cli" "$tiny" -o /proc/self/out --quiet');
    expect(ended.status).toBe(1);
    expect(ended.stderr).toMatch(/^favor-convert: \/proc\/self\/out cannot be written \(E[A-Z]+/);
  });

  test("speed: time and peak memory of each length, beyond the position table too", async () => {
    // A process that has held this much must not lend its peak to those that it starts.
    const held = Buffer.alloc(400e6, 1);
    const [short, long] = await measureSpeed(tiny, { lengths: [64, 768], runs: 9, threads: 1 });
    expect(short!.peakBytes).toBeLessThan(held.length);
    expect(short).toMatchObject({ length: 64 });
    expect(long).toMatchObject({ length: 768 });
    expect(long!.seconds).toBeGreaterThan(short!.seconds);
    // Four heads of 768 x 768 attention weights in float32 alone are 9 MB.
    expect(long!.peakBytes - short!.peakBytes).toBeGreaterThan(9e6);
  });
});
