import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { openSource, withOnnxFile } from "@favor/checkpoints/node";
import { ModelRunner } from "@favor/measure";
import { loadSequences, loadTokenizer } from "@favor/measure/tokens";
import { tiny, validation } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

import { convert } from "../src/commands/convert.ts";
import { verify } from "../src/commands/verify.ts";
import { favorConvert } from "./favor-convert.ts";

/** The embedded model as sentence-transformers lays it out, without its head. */
async function sentenceModel(): Promise<string> {
  const folder = join(await temporaryFolder(), "model");
  await cp(tiny, folder, { recursive: true });
  await mkdir(join(folder, "1_Pooling"));
  const pooling = { word_embedding_dimension: 128, pooling_mode_cls_token: false, pooling_mode_mean_tokens: true };
  await writeFile(join(folder, "1_Pooling", "config.json"), JSON.stringify(pooling));
  return folder;
}

const part = { file: "model.safetensors", task: "feature-extraction" } as const;
const evaluateCount = 12;

function dot(u: readonly number[], v: readonly number[]): number {
  return u.reduce((sum, value, i) => sum + value * v[i]!, 0);
}

function cosine(a: readonly number[], b: readonly number[]): number {
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

function nearest(all: readonly (readonly number[])[], own: number): number {
  const near = all.map((vector, i) => (i === own ? -2 : cosine(all[own]!, vector)));
  return near.indexOf(Math.max(...near));
}

test("the mean of the hidden states is compared, as it is computed token by token, and verified again", async () => {
  const source = await sentenceModel();
  const output = join(await temporaryFolder(), "out");
  const { favor } = await convert({ source, ...part, output, count: 16, evaluate: validation, evaluateCount });
  const { evaluation } = favor;
  if (evaluation?.kind !== "embedding") throw new Error("not measured as an embedding");
  expect(evaluation).toMatchObject({ output: "last_hidden_state", width: 128, pooling: { modes: ["mean"] } });

  const tokenizer = await loadTokenizer(source);
  const drawn = {
    count: evaluateCount,
    seed: 0,
    maximumTokens: undefined,
    longer: "refuse" as const,
    withLongest: true,
  };
  const { sequences } = await loadSequences(validation, tokenizer, drawn);
  const embeddings = async (path: string): Promise<number[][]> => {
    const runner = await ModelRunner.open(path, { threads: 1 });
    const found: number[][] = [];
    for (const { ids } of sequences) {
      const { data, width } = await runner.run([ids], "last_hidden_state");
      found.push(
        Array.from({ length: width }, (_, column) =>
          ids.reduce((sum, __, at) => sum + data[at * width + column]! / ids.length, 0),
        ),
      );
    }
    await runner.close();
    return found;
  };
  const before = await withOnnxFile(await openSource(source, part), embeddings);
  const after = await embeddings(join(output, "onnx", "model.onnx"));
  const cosines = before.map((vector, i) => cosine(vector, after[i]!));
  for (const [i, value] of cosines.entries()) expect(evaluation.perSequence[i]).toBeCloseTo(value, 5);
  const kept = before.filter((_, i) => nearest(before, i) === nearest(after, i)).length / before.length;
  expect(evaluation.neighbours?.kept.value).toBeCloseTo(kept, 12);

  const { checks } = await verify({ original: source, ...part, converted: output, data: validation });
  expect(checks.filter((check) => !check.passed)).toEqual([]);
  expect(checks.map(({ name }) => name)).toContain("recorded quality is reproduced");
});

test("exact attention keeps every neighbour; a pooling that disagrees is named, recorded, and verified", async () => {
  const source = await sentenceModel();
  const output = join(await temporaryFolder(), "out");
  const request = { source, ...part, output, features: "exact", pooling: "cls", evaluate: validation } as const;
  const { favor, warnings } = await convert({ ...request, evaluateCount });
  expect(favor.evaluation).toMatchObject({
    kind: "embedding",
    pooling: { modes: ["cls"], configured: "mean" },
    cosine: { value: expect.closeTo(1, 5) as number },
    neighbours: { kept: { value: 1 }, rankCorrelation: expect.closeTo(1, 3) as number },
  });
  expect(warnings.map(({ code }) => code)).toContain("pooling-disagrees");
  expect(favor.options.pooling).toBe("cls");
  const { evaluation } = await verify({ original: source, ...part, converted: output, data: validation });
  expect(evaluation).toEqual(favor.evaluation);
});

test("--pooling needs data, and a known way", async () => {
  const alone = await favorConvert(tiny, "-o", "/nowhere", "--pooling", "mean");
  expect([alone.status, alone.stderr]).toEqual([2, expect.stringContaining("pass a file of texts with --evaluate")]);
  expect((await favorConvert(tiny, "-o", "/nowhere", "--evaluate", validation, "--pooling", "best")).status).toBe(2);
});

test("a decoder is measured by the next token: accuracy and perplexity are those of its logits", async () => {
  const source = fileURLToPath(new URL("cases/gpt2-n-positions", import.meta.url));
  const output = join(await temporaryFolder(), "out");
  const evaluate = join(source, "data.txt");
  const { favor } = await convert({ source, output, count: 16, evaluate, truncate: true });
  const { evaluation } = favor;
  if (evaluation?.kind !== "next-token") throw new Error("not measured as a decoder");
  const drawn = { count: 500, seed: 0, maximumTokens: 24, longer: "cut" as const };
  const { sequences } = await loadSequences(evaluate, await loadTokenizer(source), drawn);
  const runner = await ModelRunner.open(join(source, "onnx", "model.onnx"), { threads: 1 });
  let [correct, loss, count] = [0, 0, 0];
  for (const { ids } of sequences) {
    const { data, width } = await runner.run([ids], "logits");
    for (const [at, target] of ids.slice(1).entries()) {
      const logits = [...data.subarray(at * width, (at + 1) * width)];
      if (logits[target] === Math.max(...logits)) correct++;
      loss += Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0)) - logits[target]!;
      count++;
    }
  }
  await runner.close();
  expect(evaluation.predictedTokens).toBe(count);
  expect(evaluation.original.accuracy.value).toBeCloseTo(correct / count, 12);
  expect(evaluation.original.perplexity.value).toBeCloseTo(Math.exp(loss / count), 3);
});
