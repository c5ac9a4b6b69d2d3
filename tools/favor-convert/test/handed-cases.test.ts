import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { HubServer, folderFiles } from "hub-server";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { shared } from "@favor/test-support/shared-folder";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";
import { forgetHubSettings } from "./hub-environment.ts";

const cases = fileURLToPath(new URL("cases", shared));

/** The files in folders such as 1_Pooling, in base64. */
function inFolders(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const found = paths.map((path) => [path.slice(folder.length), readFileSync(path, "base64")] as const);
  return Object.fromEntries(found.filter(([name]) => /\d_[A-Z]/.test(name)));
}

beforeEach(() => {
  forgetHubSettings();
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe.skipIf(!existsSync(cases))("cases of other people's files (skipped without ../shared)", () => {
  test("cache-without-file-list: offline, and with a Hub out of reach", async () => {
    const home = await temporaryFolder();
    execFileSync("tar", ["-xf", join(cases, "cache-without-file-list", "cache.tar"), "-C", home]);
    vi.stubEnv("HF_HOME", home);
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    const output = join(await temporaryFolder(), "out");
    const offline = await favorConvert("org/name", "-o", output, "--quiet");
    expect(offline.status).toBe(0);
    expect(existsSync(join(output, "onnx", "model.onnx"))).toBe(true);
    vi.stubEnv("HF_HUB_OFFLINE", "0");
    vi.stubEnv("HF_ENDPOINT", "http://127.0.0.1:9");
    const answer = await favorConvert("inspect", "org/name", "--quiet");
    expect(answer.status).toBe(0);
    expect(answer.stderr).toMatch(/cached commit [0-9a-f]{40} of org\/name is used/);
  });

  const embedding = join(cases, "modules-with-dense");
  test("modules-with-dense: from a folder, and with a new length", async () => {
    const output = join(await temporaryFolder(), "out");
    expect(await favorConvert(embedding, "-o", output, "--max-length", "1024", "--quiet")).toMatchObject({ status: 0 });
    expect(Object.keys(inFolders(embedding))).toContain("/2_Dense/model.safetensors");
    expect(inFolders(output)).toEqual(inFolders(embedding));
    const tokenizer = JSON.parse(readFileSync(join(output, "tokenizer.json"), "utf8")) as {
      truncation: { max_length: number } | null;
    };
    expect(tokenizer.truncation?.max_length ?? 1024).toBe(1024);
  });

  test("modules-with-dense: from the Hub", async () => {
    const server = await HubServer.start({ repositories: [{ id: "org/embedding", files: folderFiles(embedding) }] });
    vi.stubEnv("HF_HOME", await temporaryFolder());
    vi.stubEnv("HF_ENDPOINT", server.endpoint);
    const output = join(await temporaryFolder(), "out");
    const answer = await favorConvert("org/embedding", "-o", output, "--quiet");
    await server.close();
    expect(answer).toMatchObject({ status: 0 });
    expect(inFolders(output)).toEqual(inFolders(embedding));
  });
});
