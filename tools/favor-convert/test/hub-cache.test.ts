import { existsSync, readFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { HubServer, folderFiles } from "hub-server";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";

import { tiny } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";
import { forgetHubSettings } from "./hub-environment.ts";

const files = folderFiles(tiny);
const { "onnx/model.onnx": onnx, "model.safetensors": weights, ...around } = files;
const module = { "2_Dense/config.json": '{"in_features":2}', "2_Dense/model.safetensors": "weights" };
const modules = JSON.stringify(["", "2_Dense", "3_Normalize"].map((path, idx) => ({ idx, name: `${idx}`, path })));

let server: HubServer;
let home: string;

beforeAll(async () => {
  server = await HubServer.start({
    repositories: [
      { id: "org/name", files: { ...around, "model.safetensors": weights!, LICENSE: "text" } },
      { id: "plain", files: { ...around, "onnx/model.onnx": onnx! } },
      { id: "org/both", files: { ...around, "onnx/model.onnx": onnx!, "model.safetensors": weights! } },
      { id: "org/modules", files: { ...around, ...module, "modules.json": modules, "model.safetensors": weights! } },
    ],
  });
});
afterAll(() => server.close());

beforeEach(async () => {
  home = await temporaryFolder();
  forgetHubSettings();
  vi.stubEnv("HF_ENDPOINT", server.endpoint);
  vi.stubEnv("HF_HOME", home);
});
afterEach(() => {
  vi.unstubAllEnvs();
  server.clearFaults();
});

/** Leaves in the cache what huggingface_hub leaves after single downloads: no file list, and no file besides these. */
async function singleDownloads(id: string, ...names: string[]): Promise<void> {
  await favorConvert("inspect", id, "--quiet");
  const folder = join(home, "hub", `models--${id.replace("/", "--")}`);
  await rm(join(folder, "trees"), { recursive: true });
  const snapshot = join(folder, "snapshots", server.commit(id));
  for (const name of Object.keys(around).concat("LICENSE")) {
    if (!names.includes(name)) await rm(join(snapshot, name), { force: true });
  }
}

async function unreachable(): Promise<void> {
  const gone = await HubServer.start({ repositories: [] });
  vi.stubEnv("HF_ENDPOINT", gone.endpoint);
  await gone.close();
}

test("a cache without a file list serves offline, by branch and by commit", async () => {
  await singleDownloads("org/name", "config.json");
  vi.stubEnv("HF_HUB_OFFLINE", "on");
  for (const id of [
    "org/name",
    `org/name@${server.commit("org/name")}`,
    `org/name@${server.commit("org/name").slice(0, 8)}`,
  ]) {
    const answer = await favorConvert("inspect", id);
    expect(answer.stdout).toContain("model.safetensors: 4 of 4 attention sites");
    expect(answer.stderr).toContain("already in the cache");
  }
});

test("and with a Hub that is out of reach: a warning", async () => {
  await singleDownloads("org/name", "config.json");
  await unreachable();
  for (const id of ["org/name", `org/name@${server.commit("org/name")}`]) {
    const answer = await favorConvert("inspect", id, "--quiet");
    expect(answer).toMatchObject({ status: 0 });
    expect(answer.stderr).toMatch(/cached (?:commit|files)/);
  }
});

test("a server that fails, or answers with a page of its own, is out of reach too", async () => {
  await singleDownloads("org/name", "config.json");
  for (const body of ["<html>Sign in to the network</html>", '{"sha":5}']) {
    server.fault({ path: /revision/ }, (answer) => ({ ...answer, body: Buffer.from(body) }) as typeof answer);
    const answer = await favorConvert("inspect", "org/name", "--quiet");
    expect(answer.status).toBe(0);
    expect(answer.stderr).toContain("is used");
    server.clearFaults();
  }
});

test("a cache that lacks optional files serves, and the missing ones are named", async () => {
  await favorConvert("inspect", "org/name", "--quiet");
  const snapshot = join(home, "hub", "models--org--name", "snapshots", server.commit("org/name"));
  await rm(join(snapshot, "LICENSE"));
  for (const name of await blobsOf("LICENSE")) await rm(name);
  vi.stubEnv("HF_HUB_OFFLINE", "1");
  const answer = await favorConvert("inspect", "org/name", "--quiet");
  expect(answer).toMatchObject({ status: 0 });
  expect(answer.stderr).toContain("The cache lacks LICENSE of org/name; the output will lack them too");
});

async function blobsOf(content: string): Promise<string[]> {
  const { createHash } = await import("node:crypto");
  const text = content === "LICENSE" ? "text" : content;
  const hash = createHash("sha1").update(`blob ${text.length}\0${text}`).digest("hex");
  return [join(home, "hub", "models--org--name", "blobs", hash)].filter(existsSync);
}

test("weights in the cache where the repository has an export: used, with a warning", async () => {
  await favorConvert("inspect", "org/both", "--file", "model.safetensors", "--quiet");
  vi.stubEnv("HF_HUB_OFFLINE", "1");
  const answer = await favorConvert("inspect", "org/both", "--quiet");
  expect(answer.stdout).toContain("model.safetensors: 4 of 4");
  expect(answer.stderr).toContain(
    "org/both has onnx/model.onnx, which would be used, but only model.safetensors is in",
  );
});

test("a cache of another commit only: refused, naming that commit", async () => {
  await singleDownloads("org/name", "config.json");
  await rm(join(home, "hub", "models--org--name", "refs"), { recursive: true });
  vi.stubEnv("HF_HUB_OFFLINE", "TRUE");
  const answer = await favorConvert("inspect", "org/name", "--quiet");
  expect(answer.status).toBe(3);
  expect(answer.stderr).toContain(`The cache does hold ${server.commit("org/name")}: give one as revision`);
});

test("a name of one word that is no folder is asked for at the Hub, and the message says so", async () => {
  const answer = await favorConvert("inspect", "plain");
  expect(answer.stdout).toContain("4 of 4 attention sites");
  expect(answer.stderr).toMatch(/There is no file or folder .*plain: plain is taken for a model on the Hub/);
  const missing = await favorConvert("inspect", "plane", "--quiet");
  expect(missing).toMatchObject({ status: 3 });
  expect(missing.stderr).toMatch(/There is no file or folder .*plane on this machine either/);
});

test("every folder of modules.json comes from the Hub and is copied", async () => {
  const output = join(await temporaryFolder(), "out");
  const answer = await favorConvert("org/modules", "-o", output, "--quiet");
  expect(answer).toMatchObject({ status: 0 });
  for (const [name, text] of Object.entries(module)) expect(readFileSync(join(output, name), "utf8")).toBe(text);
});

test("a folder of that name wins over the Hub", async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "config.json"), "{}");
  const before = server.requests.length;
  expect((await favorConvert("inspect", folder, "--quiet")).status).toBe(3);
  expect(server.requests).toHaveLength(before);
});
