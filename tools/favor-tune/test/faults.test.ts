import { copyFile, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { tensorValues } from "@favor/onnx";
import { hashFile, openModel, writeModel } from "@favor/onnx/node";
import { describe, expect, test } from "vitest";

import { withWeights } from "../src/model/with-weights.ts";
import { tune } from "../src/index.ts";
import type { TuneRequest } from "../src/index.ts";
import { calibration, tiny } from "@favor/test-support/antibody";
import { convertedOnce } from "./converted.ts";
import { predictionsOf } from "./predictions.ts";
import { favorTune } from "./terminal.ts";
import { temporaryFile, temporaryFolder } from "@favor/test-support/temporary-folder";

const converted = convertedOnce({ count: 16 });

async function request(changes: Partial<TuneRequest> = {}): Promise<TuneRequest> {
  const small = { maxLength: 24, batch: 4, steps: 2, evalCount: 10, backend: "wasm", stage: "mlm" } as const;
  return { source: await converted(), data: calibration, ...small, ...changes };
}

/** Puts other weights into a converted folder; `favor.json` knows of them if `known`. */
async function changeWeights(
  folder: string,
  change: (values: Float32Array) => Float32Array,
  known: boolean,
  name = "bert.encoder.layer.0.output.dense.bias",
): Promise<void> {
  const path = join(folder, "onnx", "model.onnx");
  const opened = await openModel(path);
  const tensor = opened.model.graph.initializer.find((initializer) => initializer.name === name)!;
  const values = change(Float32Array.from(tensorValues(tensor).data as Float32Array));
  const changed = join(folder, "onnx", "changed.onnx");
  await writeModel(withWeights(opened.model, new Map([[name, values]])), changed);
  opened.close();
  await writeFile(path, await readFile(changed));
  await rm(changed);
  if (!known) return;
  const favorPath = join(folder, "favor.json");
  const favor = JSON.parse(await readFile(favorPath, "utf8")) as { model: { sha256: string } };
  favor.model.sha256 = await hashFile(path);
  await writeFile(favorPath, JSON.stringify(favor));
}

/** Embeddings of which the rows of the special tokens are NaN. */
function withoutSpecials(embeddings: Float32Array): Float32Array {
  return embeddings.fill(Number.NaN, 0, 5 * 128);
}

/** What lies beside the source after a run. */
const left = async ({ source }: TuneRequest): Promise<string[]> => (await readdir(join(source, ".."))).toSorted();

describe("what does not belong together", () => {
  test("weights that were swapped for another model's", async () => {
    const wanted = await request();
    await changeWeights(wanted.source, (values) => values.map((value) => value + 1), false);
    await expect(tune(wanted)).rejects.toMatchObject({ code: "weights-mismatch" });
  });

  test("a teacher that is not the original: its SHA-256 says so, wherever it lies", async () => {
    const wanted = await request({ kl: 0.5 });
    await expect(tune({ ...wanted, teacher: wanted.source })).rejects.toMatchObject({
      code: "teacher-mismatch",
      message: expect.stringMatching(
        /is the converted model itself, not its original\. .* sha256 [0-9a-f]{64}/,
      ) as string,
    });
    // Weights without the export that was converted: another file, so another checkpoint.
    const other = await temporaryFolder();
    for (const name of ["config.json", "vocab.txt", "model.safetensors"]) {
      await copyFile(join(tiny, name), join(other, name));
    }
    await expect(tune({ ...wanted, teacher: other })).rejects.toMatchObject({
      code: "teacher-mismatch",
      message: expect.stringMatching(/model\.safetensors is not the checkpoint that was converted \(sha256 /) as string,
    });
  });

  test("a teacher that lies elsewhere under another name is found as favor-convert finds it", async () => {
    const wanted = await request({ kl: 0.5, steps: 1 });
    const elsewhere = await temporaryFolder();
    await copyFile(join(tiny, "config.json"), join(elsewhere, "config.json"));
    await copyFile(join(tiny, "onnx", "model.onnx"), join(elsewhere, "original.onnx"));
    const { favor } = await tune({ ...wanted, teacher: join(elsewhere, "original.onnx") });
    expect(predictionsOf(favor).original).toBeDefined();
    await tune({ ...wanted, teacher: elsewhere, force: true });
  });

  test("a tokenizer with more tokens than the embedding has rows, whatever config.json says", async () => {
    const wanted = await request();
    const path = join(wanted.source, "tokenizer.json");
    const tokenizer = JSON.parse(await readFile(path, "utf8")) as { model: { vocab: Record<string, number> } };
    tokenizer.model.vocab["#"] = 25;
    await writeFile(path, JSON.stringify(tokenizer));
    await expect(tune(wanted)).rejects.toMatchObject({ code: "tokenizer-mismatch" });
    const configPath = join(wanted.source, "config.json");
    const config = JSON.parse(await readFile(configPath, "utf8")) as object;
    await writeFile(configPath, JSON.stringify({ ...config, vocab_size: 26 }));
    await expect(tune(wanted)).rejects.toMatchObject({ code: "tokenizer-mismatch" });
  });

  test("a folder that favor-convert did not write", async () => {
    await expect(tune(await request({ source: tiny, output: `${await converted()}-x` }))).rejects.toMatchObject({
      code: "converted-malformed",
    });
  });

  test("options", async () => {
    await expect(tune(await request({ stage: "both" }))).rejects.toThrow(/--teacher/);
    await expect(tune(await request({ control: true }))).rejects.toThrow(/--teacher/);
    await expect(tune(await request({ stage: "distill", teacher: tiny, kl: 1 }))).rejects.toThrow(/need the stage mlm/);
    await expect(tune(await request({ accumulate: 5 }))).rejects.toThrow(/batch of 4/);
    const onto = await request();
    await expect(tune({ ...onto, output: onto.source, force: true })).rejects.toMatchObject({
      code: "output-is-source",
    });
    const { status, stderr } = await favorTune(onto.source, "--data", calibration);
    expect(status).toBe(2);
    expect(stderr).toContain("--teacher");
  });
});

describe("what goes wrong on the way", () => {
  test("a loss that is no number names the lines of its batch; nothing is left behind", async () => {
    const wanted = await request();
    // The rows of the special tokens, of which the mask is one: other tokens alone give numbers.
    await changeWeights(wanted.source, withoutSpecials, true, "bert.embeddings.word_embeddings.weight");
    await expect(tune(wanted)).rejects.toMatchObject({
      code: "loss-not-finite",
      message: expect.stringMatching(/step 1.*lines (\d+, ){3}\d+ of .*calibration\.fasta/) as string,
    });
    expect(await left(wanted)).toEqual(["converted"]);
  });

  test("a bad record of the data, by its line: nothing is written", async () => {
    const good = await readFile(calibration, "utf8");
    const data = await temporaryFile("bad.fasta", `${good}>bad\nQVQLVES-GG\n`);
    const wanted = await request({ data });
    const line = good.split("\n").length + 1;
    await expect(tune(wanted)).rejects.toMatchObject({ code: "data-malformed", details: { line } });
    const { status, stderr, stdout } = await favorTune(
      wanted.source,
      "--data",
      data,
      "--stage",
      "mlm",
      "--force",
      "--json",
    );
    expect(status).toBe(3);
    expect(stderr).toContain(`line ${line}`);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "data-malformed" } });
  });
});
