import { memfs } from "memfs";
import { nodeToFsa } from "memfs/lib/node-to-fsa/index.js";
import { faults } from "hub-server";
import { describe, expect, it, onTestFinished, vi } from "vitest";

import { Hub, OpfsCache } from "../src/index.ts";
import { isPage, networkError } from "../src/transport/network-error.ts";
import { rejection, startServer, weights } from "./loopback.ts";

/** A browser's client: its own fetch, hashes in plain JavaScript, a file system by the browsers' interface. */
function browser(endpoint: string): { hub: Hub<File>; offline: Hub<File>; names: () => string[] } {
  const { fs, vol } = memfs({ "/root": null });
  const cache = new OpfsCache(nodeToFsa(fs, "/root", { mode: "readwrite" }));
  const options = { endpoint, cache, retry: { retries: 3, baseMs: 1, maxMs: 4 } };
  return {
    hub: new Hub(options),
    offline: new Hub({ ...options, offline: true }),
    names: () => Object.keys(vol.toJSON()).filter((name) => !name.endsWith(".crswap")),
  };
}

describe("in a browser", () => {
  it("downloads, verifies, and finds it again offline", async () => {
    const server = await startServer();
    const { hub, offline } = browser(server.endpoint);
    const { files, folder } = await hub.snapshot("org/tiny");
    expect(folder).toBe(`models--org--tiny/snapshots/${server.commit("org/tiny")}`);
    const bytes = new Uint8Array(await files.get("onnx/model.onnx")!.arrayBuffer());
    expect(Buffer.compare(bytes, weights)).toBe(0);
    const requests = server.requests.length;
    const again = await offline.snapshot("org/tiny");
    expect([...again.files.keys()].toSorted()).toEqual([...files.keys()].toSorted());
    expect(await (await offline.file("org/tiny", "tokenizer/vocab.txt")).text()).toBe("[PAD]\n[UNK]\n");
    expect(server.requests).toHaveLength(requests);
  });

  it("continues a cut connection, within one call", async () => {
    const server = await startServer();
    server.fault({ part: "storage", times: 2 }, faults.cut(100_000));
    const file = await browser(server.endpoint).hub.file("org/tiny", "onnx/model.onnx");
    expect(Buffer.compare(new Uint8Array(await file.arrayBuffer()), weights)).toBe(0);
  });

  it("keeps nothing of wrong content", async () => {
    const server = await startServer();
    server.fault({ part: "storage" }, faults.corrupt);
    const { hub, names } = browser(server.endpoint);
    expect(await rejection(hub.file("org/tiny", "onnx/model.onnx"))).toMatchObject({ code: "hub-hash-mismatch" });
    expect(names().filter((name) => name.includes("/blobs/"))).toEqual([]);
  });

  it("follows redirects that only the browser may see", async () => {
    const server = await startServer();
    const { hub } = browser(server.endpoint);
    const asBrowser = new Hub({
      endpoint: server.endpoint,
      cache: new OpfsCache(nodeToFsa(memfs().fs, "/", { mode: "readwrite" })),
      fetch: async (url, init) => {
        const response = await fetch(url, init);
        if (init.redirect === "manual" && response.status === 302) {
          return { status: 0, type: "opaqueredirect", url, headers: new Headers(), body: null };
        }
        return response;
      },
    });
    const [file, same] = [
      await asBrowser.file("org/tiny", "onnx/model.onnx"),
      await hub.file("org/tiny", "onnx/model.onnx"),
    ];
    expect(file.size).toBe(same.size);
  });

  it.each(["document", "WorkerGlobalScope"])("a Hub that is not there, with a global %s", async (name) => {
    vi.stubGlobal(name, {});
    onTestFinished(() => void vi.unstubAllGlobals());
    const server = await startServer();
    const { endpoint } = server;
    await server.close();
    const error = await rejection(browser(endpoint).hub.file("org/tiny", "config.json"));
    expect(error).toMatchObject({ code: "hub-unreachable", retryable: true });
    expect(error.message).toContain(`connect-src of its Content-Security-Policy allows ${endpoint} and the hosts`);
    expect(error.message).toMatch(/online.*CORS/);
    expect(error.message).not.toMatch(/HTTPS_PROXY|HF_ENDPOINT/);
  });

  it("names the hosts that the Hub's large files come from", () => {
    const failed = new TypeError("Failed to fetch");
    const url = "https://huggingface.co/org/tiny/resolve/main/config.json";
    const { message } = networkError(failed, url, { timedOutAfterMs: undefined, inPage: true });
    expect(message).toContain("(Failed to fetch)");
    expect(message).toContain("allows https://huggingface.co and https://*.huggingface.co https://*.hf.co,");
  });

  it("knows no environment variable that would lengthen a time limit", () => {
    const aborted = new DOMException("aborted", "AbortError");
    const error = networkError(aborted, "https://huggingface.co/api", { timedOutAfterMs: 10_000, inPage: true });
    expect(error).toMatchObject({ code: "hub-timeout", retryable: true });
    expect(error.message).toMatch(/within 10 s\. Pass responseTimeoutMs/);
  });
});

it("Node is no page", async () => {
  expect(isPage()).toBe(false);
  expect(isPage({ document: {} })).toBe(true);
  const server = await startServer();
  const { endpoint } = server;
  await server.close();
  const error = await rejection(browser(endpoint).hub.file("org/tiny", "config.json"));
  expect(error.message).toContain("HTTPS_PROXY and HF_ENDPOINT.");
  expect(error.message).not.toContain("connect-src");
});
