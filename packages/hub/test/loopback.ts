import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { HubServer, memoryContent, type HubServerOptions } from "hub-server";
import { Agent } from "undici";
import { onTestFinished } from "vitest";

import type { Hub, HubEvent } from "../src/index.ts";
import { openHub, type OpenHubOptions } from "../src/node/index.ts";
import { requestFetch } from "../src/node/request.ts";
import type { Fetch } from "../src/transport/fetch.ts";

/** Bytes without a pattern, the same for the same seed. */
export function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state;
  }
  return bytes;
}

/** The weights of {@link model}: large enough for many chunks, small enough to be quick. */
export const weights: Uint8Array = noise(400_000);

/** A repository with a file of each storage kind. */
export const model = {
  id: "org/tiny",
  files: {
    "config.json": '{"model_type":"bert"}',
    "empty.txt": "",
    "onnx/model.onnx": memoryContent(weights, "lfs"),
    "model.safetensors": memoryContent(noise(100_000, 2), "xet"),
    "tokenizer/vocab.txt": "[PAD]\n[UNK]\n",
  },
};

/** Whether a file holds exactly {@link weights}. */
export async function holdsWeights(path: string): Promise<boolean> {
  return Buffer.compare(await readFile(path), weights) === 0;
}

/** Starts a Hub that ends with the test. */
export async function startServer(options: Partial<HubServerOptions> = {}): Promise<HubServer> {
  const server = await HubServer.start({ repositories: [model], ...options });
  onTestFinished(() => server.close());
  return server;
}

/** An empty cache folder that ends with the test. */
export async function emptyCache(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "favor-hub-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A client with quick retries and nothing from the real environment. */
export function client(endpoint: string, cacheFolder: string, options: OpenHubOptions = {}): Hub<string> {
  return openHub({
    endpoint,
    cacheFolder,
    environment: { HF_HOME: cacheFolder },
    retry: { retries: 3, baseMs: 1, maxMs: 4 },
    ...options,
  });
}

/**
 * The client's own fetch, watched: how many bytes, decompressed, have been read of the answers to requests whose URL
 * matches.
 */
export function watchedFetch(urls: RegExp, onRead: (bytes: number) => void): Fetch {
  const fetch = requestFetch(new Agent());
  let total = 0;
  return async (url, init) => {
    const response = await fetch(url, init);
    if (response.body === null || !urls.test(url)) return response;
    const { body } = response;
    const getReader = (): ReturnType<typeof body.getReader> => {
      const reader = body.getReader();
      const read = async (): ReturnType<typeof reader.read> => {
        const result = await reader.read();
        total += result.value?.length ?? 0;
        onRead(total);
        return result;
      };
      return { ...reader, read };
    };
    return { ...response, body: { ...body, getReader } };
  };
}

/** Collects events. */
export function recorder(): { events: HubEvent[]; onEvent: (event: HubEvent) => void } {
  const events: HubEvent[] = [];
  return { events, onEvent: (event) => void events.push(event) };
}

/** What a promise is rejected with; fails when it is not. */
export async function rejection(
  promise: Promise<unknown>,
): Promise<Error & { code?: string; details?: Record<string, unknown> }> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
    throw new TypeError("rejected with something that is not an Error", { cause: error });
  }
  throw new TypeError("was not rejected");
}
