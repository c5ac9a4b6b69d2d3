import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import { bodyLength, crossOrigin, preflight, type Answer } from "./answer.ts";
import { readRange } from "./content.ts";
import type { Fault } from "./faults.ts";
import { layOut, type RepositoryInput, type ServedRepository } from "./repositories.ts";
import { hubAnswer, storageAnswer, type Hosting, type HubRequest } from "./routes.ts";

/** Which of the two servers: the Hub, or the storage that it redirects to. */
export type ServerPart = "hub" | "storage";

/** A request that was received, for tests to look at. */
export interface ReceivedRequest {
  readonly part: ServerPart;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** Which requests a fault befalls. */
export interface FaultTarget {
  readonly part?: ServerPart;
  /** Matched against path and query. */
  readonly path?: RegExp;
  /** How many requests; all by default. */
  readonly times?: number;
  /** How many matching requests pass unharmed before. */
  readonly after?: number;
}

export interface HubServerOptions {
  readonly repositories: readonly RepositoryInput[];
  /** Known tokens, besides those that repositories name. */
  readonly tokens?: readonly string[];
  /** Entries per page of a tree, 1000 by default as at the Hub. */
  readonly pageSize?: number;
  /** A path that the endpoint lies under, such as `/mirror`. */
  readonly basePath?: string;
  /** Bytes per second of each connection, as a distant server has a limit; none by default. */
  readonly connectionRate?: number;
  /** 0, the default, for any free port. */
  readonly port?: number;
}

/** A Hub on 127.0.0.1, and on another port of it the large-file storage. */
export class HubServer {
  readonly requests: ReceivedRequest[] = [];
  readonly repositories: readonly ServedRepository[];
  readonly #options: HubServerOptions;
  readonly #faults: { target: FaultTarget; fault: Fault; passed: number; hit: number }[] = [];
  readonly #hub: Server;
  readonly #storage: Server;

  private constructor(options: HubServerOptions) {
    this.#options = options;
    this.repositories = options.repositories.map(layOut);
    this.#hub = createServer((request, response) => void this.#serve("hub", request, response));
    this.#storage = createServer((request, response) => void this.#serve("storage", request, response));
  }

  static async start(options: HubServerOptions): Promise<HubServer> {
    const server = new HubServer(options);
    // One after the other: a port in use must not leave the storage listening.
    await listen(server.#hub, options.port ?? 0);
    await listen(server.#storage, 0);
    return server;
  }

  /** What HF_ENDPOINT is set to. */
  get endpoint(): string {
    return origin(this.#hub) + (this.#options.basePath ?? "");
  }

  /** The origin of the large-file storage. */
  get storage(): string {
    return origin(this.#storage);
  }

  /** The commit of a served repository's branch. */
  commit(id: string, branch = "main"): string {
    return this.repositories.find((repository) => repository.id === id)!.refs.get(branch)!;
  }

  /** From now on the fault befalls the requests of the target. */
  fault(target: FaultTarget, fault: Fault): void {
    this.#faults.push({ target, fault, passed: 0, hit: 0 });
  }

  clearFaults(): void {
    this.#faults.length = 0;
  }

  async close(): Promise<void> {
    await Promise.all(
      [this.#hub, this.#storage].map((server) => {
        server.closeAllConnections();
        return new Promise<void>((resolve) => server.close(() => resolve()));
      }),
    );
  }

  async #serve(part: ServerPart, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    // A client that goes away is what half of the tests are about.
    response.on("error", () => undefined);
    try {
      const request = await read(incoming, part === "hub" ? (this.#options.basePath ?? "") : "");
      if (request.method === "OPTIONS") {
        await send(preflight(), request.method, response, undefined);
        return;
      }
      const path = request.url.pathname + request.url.search;
      this.requests.push({ part, method: request.method, path, headers: request.headers });
      let answer = part === "hub" ? hubAnswer(request, this.#hosting()) : storageAnswer(request, this.#hosting());
      for (const rule of this.#faults) {
        if (rule.target.part !== undefined && rule.target.part !== part) continue;
        if (rule.target.path !== undefined && !rule.target.path.test(path)) continue;
        if (rule.passed++ < (rule.target.after ?? 0) || rule.hit >= (rule.target.times ?? Infinity)) continue;
        rule.hit++;
        answer = rule.fault(answer);
      }
      await send(answer, request.method, response, this.#options.connectionRate);
    } catch {
      response.destroy();
    }
  }

  #hosting(): Hosting {
    const { tokens = [], pageSize = 1000 } = this.#options;
    const named = this.repositories.flatMap((repository) => [
      ...(repository.private ?? []),
      ...(repository.gated ?? []),
    ]);
    return {
      repositories: this.repositories,
      tokens: new Set([...tokens, ...named]),
      pageSize,
      endpoint: this.endpoint,
      storage: this.storage,
    };
  }
}

async function listen(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
}

function origin(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function read(incoming: IncomingMessage, basePath: string): Promise<HubRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const url = new URL(incoming.url ?? "/", "http://127.0.0.1");
  if (url.pathname.startsWith(`${basePath}/`)) url.pathname = url.pathname.slice(basePath.length);
  const headers = Object.fromEntries(
    Object.entries(incoming.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value]),
  );
  return { method: incoming.method ?? "GET", url, headers, body: Buffer.concat(chunks).toString("utf8") };
}

async function send(
  answer: Answer,
  method: string,
  response: ServerResponse,
  connectionRate: number | undefined,
): Promise<void> {
  const { status, headers, body, cutAfter, stallAfter } = answer;
  const length = bodyLength(body);
  const sized = headers["transfer-encoding"] === undefined ? { "content-length": String(length) } : {};
  response.writeHead(status, { ...sized, ...crossOrigin, ...headers });
  if (method === "HEAD" || length === 0) {
    response.end();
    return;
  }
  response.flushHeaders();
  const limit = Math.min(length, cutAfter ?? length, stallAfter ?? length);
  const part =
    body instanceof Uint8Array ? body.subarray(0, limit) : readRange(body.content, body.start, body.start + limit);
  if (limit === length) {
    if (connectionRate !== undefined) await pipeline(slowly(part, connectionRate), response);
    else if (part instanceof Uint8Array) response.end(part);
    else await pipeline(part, response);
    return;
  }
  if (part instanceof Uint8Array) await new Promise((resolve) => response.write(part, resolve));
  else await pipeline(part, response, { end: false });
  if (cutAfter === limit) setTimeout(() => response.destroy(), 5);
}

/** Passes bytes on at a steady rate, a hundredth of a second's worth at a time. */
async function* slowly(part: Uint8Array | Readable, rate: number): AsyncGenerator<Uint8Array> {
  const piece = Math.max(1, Math.floor(rate / 100));
  const started = performance.now();
  let sent = 0;
  for await (const chunk of part instanceof Uint8Array ? [part] : (part as AsyncIterable<Uint8Array>)) {
    for (let at = 0; at < chunk.length; at += piece) {
      const bytes = chunk.subarray(at, at + piece);
      yield bytes;
      sent += bytes.length;
      const early = started + (sent / rate) * 1000 - performance.now();
      if (early > 1) await new Promise((resolve) => setTimeout(resolve, early));
    }
  }
}
