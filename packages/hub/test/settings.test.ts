import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { AccessToken, HubNameError } from "../src/index.ts";
import { openHub, readSettings } from "../src/node/index.ts";
import { emptyCache, model, startServer } from "./loopback.ts";

describe("the environment", () => {
  it("has huggingface_hub's defaults", () => {
    expect(readSettings({}, "/home/me")).toMatchObject({
      endpoint: "https://huggingface.co",
      home: "/home/me/.cache/huggingface",
      cacheFolder: "/home/me/.cache/huggingface/hub",
      tokenFile: "/home/me/.cache/huggingface/token",
      offline: false,
      symlinks: true,
      progressBars: true,
      responseTimeoutMs: 10_000,
      stallTimeoutMs: 10_000,
    });
  });

  it.each([
    [{ XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub", "/x/huggingface/token"],
    [{ XDG_CACHE_HOME: "/x", HF_HOME: "/h" }, "/h/hub", "/h/token"],
    [{ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old" }, "/old", "/h/token"],
    [{ HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/old", HF_HUB_CACHE: "/new", HF_TOKEN_PATH: "/t" }, "/new", "/t"],
    [{ HF_HOME: "~/hf" }, "/home/me/hf/hub", "/home/me/hf/token"],
    [{ HF_HOME: "$DISK/${WHO}/$NONE", DISK: "/d", WHO: "me" }, "/d/me/$NONE/hub", "/d/me/$NONE/token"],
  ])("%j gives %s", (environment, cacheFolder, tokenFile) => {
    expect(readSettings(environment, "/home/me")).toMatchObject({ cacheFolder, tokenFile });
  });

  it("has switches and time limits", () => {
    expect(
      readSettings({
        HF_HUB_OFFLINE: "yes",
        HF_HUB_DISABLE_SYMLINKS: "ON",
        HF_HUB_DISABLE_PROGRESS_BARS: "1",
        HF_HUB_ETAG_TIMEOUT: "3",
        HF_HUB_DOWNLOAD_TIMEOUT: "0.5",
        HF_ENDPOINT: "https://hub.example/path",
        HF_HUB_DISABLE_IMPLICIT_TOKEN: "true",
      }),
    ).toMatchObject({
      offline: true,
      symlinks: false,
      progressBars: false,
      responseTimeoutMs: 3000,
      stallTimeoutMs: 500,
      endpoint: "https://hub.example/path",
      implicitToken: false,
    });
    expect(readSettings({ TRANSFORMERS_OFFLINE: "1" }).offline).toBe(true);
    expect(readSettings({ HF_HUB_OFFLINE: "0" }).offline).toBe(false);
    expect(() => readSettings({ HF_HUB_ETAG_TIMEOUT: "-1" })).toThrow("HF_HUB_ETAG_TIMEOUT");
  });
});

describe("the token", () => {
  it("comes from the option, HF_TOKEN, the old variable, the file; or not at all", async () => {
    const server = await startServer({ repositories: [model], tokens: ["a", "b", "c", "d"] });
    const home = await emptyCache();
    await mkdir(join(home, "hf"));
    await writeFile(join(home, "hf/token"), "d\n");
    const base = { HF_HOME: join(home, "hf"), HF_HUB_CACHE: join(home, "cache") };
    const old = { ...base, HUGGING_FACE_HUB_TOKEN: "c" };
    const sent = async (options: Parameters<typeof openHub>[0]): Promise<string | undefined> => {
      server.requests.length = 0;
      await openHub({ endpoint: server.endpoint, ...options }).plan("org/tiny");
      return server.requests[0]!.headers["authorization"];
    };
    expect(await sent({ token: "a", environment: { ...old, HF_TOKEN: "b" } })).toBe("Bearer a");
    expect(await sent({ environment: { ...old, HF_TOKEN: " b\n" } })).toBe("Bearer b");
    expect(await sent({ environment: { ...old, HF_TOKEN: "" } })).toBe("Bearer c");
    expect(await sent({ environment: base })).toBe("Bearer d");
    expect(await sent({ token: false, environment: old })).toBeUndefined();
    expect(await sent({ environment: { ...old, HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" } })).toBeUndefined();
    expect(
      await sent({ environment: { HF_HOME: join(home, "none"), HF_HUB_CACHE: join(home, "cache") } }),
    ).toBeUndefined();
  });

  it("is refused when it cannot be a token, without being shown", () => {
    expect(() => new AccessToken("hf_secret\r\nX-Evil: 1", "HF_TOKEN")).toThrow(HubNameError);
    expect(() => new AccessToken("hf_secret\r\nX-Evil: 1", "HF_TOKEN")).not.toThrow(/hf_secret/);
    expect(`${new AccessToken("hf_secret", "a test")}`).toBe("[access token from a test]");
  });
});
