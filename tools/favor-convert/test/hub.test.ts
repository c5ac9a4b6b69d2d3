import { existsSync } from "node:fs";
import { copyFile, readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

import { HubServer, folderFiles } from "hub-server";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";

import { verify } from "../src/commands/verify.ts";
import { favorFileSchema } from "@favor/report";
import type { FavorFile } from "@favor/report";
import { tiny, validation } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";
import { forgetHubSettings } from "./hub-environment.ts";

const files = folderFiles(tiny);
const { "onnx/model.onnx": onnx, "model.safetensors": weights, ...around } = files;

let server: HubServer;
let home: string;

beforeAll(async () => {
  server = await HubServer.start({
    repositories: [
      { id: "org/exported", files: { ...around, "onnx/model.onnx": onnx!, "onnx/model_fp16.onnx": "no model" } },
      { id: "org/weights", files: { ...around, "model.safetensors": weights!, "training_args.bin": "x" } },
      { id: "org/quantised", files: { ...around, "onnx/model_quantized.onnx": onnx! } },
      { id: "org/nothing", files: { "README.md": "A card.", "model.gguf": "x" } },
      { id: "org/gated", files, gated: ["a-token"] },
    ],
  });
});
afterAll(() => server.close());

beforeEach(async () => {
  home = await temporaryFolder();
  forgetHubSettings();
  vi.stubEnv("HF_ENDPOINT", server.endpoint);
  vi.stubEnv("HF_HOME", home);
  vi.stubEnv("HF_TOKEN", "");
  vi.stubEnv("HF_HUB_OFFLINE", "");
});
afterEach(() => {
  vi.unstubAllEnvs();
  server.clearFaults();
});

async function convertFromHub(id: string, ...options: string[]): Promise<FavorFile> {
  const output = join(await temporaryFolder(), "out");
  const measured = ["--evaluate", validation, "--evaluate-count", "20", "--count", "64", "--speed", "none"];
  const answer = await favorConvert(id, "-o", output, ...measured, ...options);
  expect(answer).toMatchObject({ status: 0 });
  expect(answer.stderr).toMatch(/MB to download/);
  const favor = favorFileSchema.parse(JSON.parse(await readFile(join(output, "favor.json"), "utf8")));
  expect((await verify({ original: id, converted: output })).checks.filter(({ passed }) => !passed)).toEqual([]);
  expect(existsSync(join(output, "config.json"))).toBe(true);
  return favor;
}

test("a repository with an ONNX export, and one with safetensors only, give the same numbers", async () => {
  const exported = await convertFromHub("org/exported");
  const built = await convertFromHub("org/weights");
  expect(exported.source).toMatchObject({
    name: "org/exported",
    revision: server.commit("org/exported"),
    model: "onnx/model.onnx",
  });
  expect(built.source).toMatchObject({ name: "org/weights", model: "model.safetensors", bytes: 3524804 });
  if (exported.evaluation?.kind !== "masked-language" || built.evaluation?.kind !== "masked-language") {
    throw new Error("masked-language evaluations were expected");
  }
  expect(built.evaluation.original.accuracy).toEqual(exported.evaluation.original.accuracy);
  expect(built.evaluation.original.perplexity.value).toBeCloseTo(exported.evaluation.original.perplexity.value, 4);
  expect(built.evaluation.converted.perplexity.value).toBeCloseTo(exported.evaluation.converted.perplexity.value, 3);
});

test("only the files that are used come, into the cache of huggingface_hub, and once", async () => {
  expect((await favorConvert("inspect", "org/exported", "--quiet")).stdout).toContain("4 of 4 attention sites");
  const folder = join(home, "hub", "models--org--exported", "snapshots", server.commit("org/exported"));
  expect(await readdir(join(folder, "onnx"))).toEqual(["model.onnx"]);
  vi.stubEnv("HF_HUB_OFFLINE", "1");
  const again = await favorConvert("inspect", "org/exported@main", "--quiet");
  expect(again).toMatchObject({ status: 0, stderr: "" });
});

test("what is in the cache is not called a download", async () => {
  const first = await favorConvert("inspect", "org/exported");
  expect(first.stderr).toMatch(/3\.\d MB to download\nDownloading/);
  const second = await favorConvert("inspect", "org/exported");
  expect(second.stderr).toContain("already in the cache");
  expect(second.stderr).not.toMatch(/download/i);
});

test("two revisions: exit code 2; the same one twice is one", async () => {
  const answer = await favorConvert("inspect", "org/exported@main", "--revision", "v2", "--quiet");
  expect(answer.status).toBe(2);
  expect(answer.stderr).toContain("org/exported@main already names the revision main, and --revision names v2");
  expect((await favorConvert("inspect", "org/exported@main", "--revision", "main", "--quiet")).status).toBe(0);
});

test.each(["./nonexist", "../x/y", "~/models", "folder/model.onnx", "checkpoints/model.safetensors"])(
  "%s is a path, not an id: the Hub is not asked",
  async (path) => {
    const before = server.requests.length;
    const answer = await favorConvert("inspect", path, "--quiet");
    expect(answer.status).toBe(3);
    expect(answer.stderr).toMatch(/does not exist/);
    expect(server.requests).toHaveLength(before);
  },
);

test("--dtype and --file choose another file", async () => {
  const answer = await favorConvert("inspect", "org/exported", "--dtype", "fp16", "--quiet");
  expect(answer.status).toBe(3);
  expect(answer.stderr).toContain("model_fp16.onnx");
  const missing = await favorConvert("inspect", "org/weights", "--file", "model.onnx", "--quiet");
  expect(missing.stderr).toMatch(/org\/weights has no file model\.onnx; it holds .*model\.safetensors/);
});

test("a quantised export is used if a repository has nothing else, as in a folder", async () => {
  const answer = await favorConvert("inspect", "org/quantised", "--quiet");
  expect(answer.stdout).toContain("model_quantized.onnx: 4 of 4 attention sites");
});

test.each([
  ["org/none", 3, "org/none"],
  ["org/none", 3, `There is no file or folder ${join(process.cwd(), "org", "none")} on this machine either`],
  ["org/exported@v9", 3, "v9"],
  ["org/exported@v9", 3, 'Its branches and tags: "main". Without a revision, main is used'],
  ["org/gated", 3, "gated"],
  ["org/nothing", 3, "it holds model.gguf"],
])("%s: exit code %d and what to do", async (id, status, text) => {
  const answer = await favorConvert("inspect", id, "--quiet");
  expect(answer.stderr).toContain(text);
  expect(answer.status).toBe(status);
});

test("a Hub that is not there: exit code 1, as another try may succeed", async () => {
  const gone = await HubServer.start({ repositories: [] });
  vi.stubEnv("HF_ENDPOINT", gone.endpoint);
  await gone.close();
  const answer = await favorConvert("inspect", "org/exported", "--quiet");
  expect(answer.stderr).toMatch(
    /^favor-convert: .* There is no file or folder .*org\/exported on this machine either\.$/m,
  );
  expect(answer.status).toBe(1);
});

test("a folder of safetensors is a source too", async () => {
  const folder = await temporaryFolder();
  for (const name of ["config.json", "vocab.txt", "tokenizer.json", "model.safetensors"]) {
    await copyFile(join(tiny, name), join(folder, name));
  }
  const answer = await favorConvert("inspect", folder);
  expect(answer.stdout).toContain("model.safetensors: 4 of 4 attention sites can be replaced.");
});
