import { createServer, type Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { inspect } from "node:util";

import { faults, HubServer } from "hub-server";
import { describe, expect, it, onTestFinished } from "vitest";

import { HubAccessError, HubNetworkError, HubNotFoundError } from "../src/index.ts";
import { retryAfterMs } from "../src/transport/retry.ts";
import { client, emptyCache, holdsWeights, model, recorder, rejection, startServer } from "./loopback.ts";

const large = "onnx/model.onnx";
const token = "hf_abcdefghijklmnopqrstuvwxyz";

/** A plain HTTP server for what the Hub is not: other hosts, proxies. */
async function otherHost(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** How long a `Retry-After` asks to wait, at the beginning of time. */
function waitFor(value: string, more: Record<string, string> = {}): number | undefined {
  const all: Record<string, string> = { "retry-after": value, ...more };
  return retryAfterMs({ get: (name) => all[name] ?? null }, 0);
}

describe("connections that fail", () => {
  it.each([0, 1, 65_536, 399_999])("fault 78: cut at byte %i", async (bytes) => {
    const server = await startServer();
    server.fault({ part: "storage", times: 1 }, faults.cut(bytes));
    expect(await holdsWeights(await client(server.endpoint, await emptyCache()).file("org/tiny", large))).toBe(true);
    expect(server.requests.at(-1)!.headers["range"]).toBe(bytes === 0 ? undefined : `bytes=${bytes}-399999`);
  });

  it("fault 78: cut every 70 000 bytes, more often than there are retries", async () => {
    const server = await startServer();
    server.fault({ part: "storage" }, faults.cut(70_000));
    const { events, onEvent } = recorder();
    const hub = client(server.endpoint, await emptyCache());
    expect(await holdsWeights(await hub.file("org/tiny", large, { onEvent }))).toBe(true);
    expect(events.filter(({ type }) => type === "retry")).toHaveLength(5);
  });

  it("fault 78: cut in every one of the parallel ranges", async () => {
    const server = await startServer();
    server.fault({ part: "storage", times: 6 }, faults.cut(20_000));
    const hub = client(server.endpoint, await emptyCache(), { parallelBytes: 1, pieceBytes: 50_000 });
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
  });

  it("fault 78: no progress is an error in the end, and the next call continues", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ part: "storage", times: 1 }, faults.cut(100_000));
    server.fault({ part: "storage", after: 1 }, faults.cut(10));
    const error = await rejection(client(server.endpoint, folder).file("org/tiny", large));
    expect(error).toMatchObject({ code: "hub-interrupted", message: expect.stringMatching(/run again\.$/) as string });
    server.clearFaults();
    expect(await holdsWeights(await client(server.endpoint, folder).file("org/tiny", large))).toBe(true);
    expect(server.requests.at(-1)!.headers["range"]).toMatch(/^bytes=1000\d0-/);
  });

  it("fault 79: a stall times out and is continued; a silent server is an error", async () => {
    const server = await startServer();
    server.fault({ part: "storage", times: 1 }, faults.stall(100_000));
    const folder = await emptyCache();
    const { events, onEvent } = recorder();
    // A machine may be too busy to send the rest in 80 ms too: as many stalls as it needs.
    const patient = { stallTimeoutMs: 80, retry: { retries: 1000, baseMs: 1, maxMs: 4 } };
    const hub = client(server.endpoint, folder, patient);
    expect(await holdsWeights(await hub.file("org/tiny", large, { onEvent }))).toBe(true);
    expect(events).toContainEqual(
      expect.objectContaining({ type: "retry", reason: expect.stringContaining("HF_HUB_DOWNLOAD_TIMEOUT") as string }),
    );

    const silent = await otherHost(createServer(() => undefined));
    const limits = { responseTimeoutMs: 80, retry: { retries: 1, baseMs: 1 } };
    const error = await rejection(client(silent, folder, limits).file("org/other", "x"));
    expect(error).toMatchObject({
      code: "hub-timeout",
      message: expect.stringContaining("HF_HUB_ETAG_TIMEOUT") as string,
    });
  });

  it.each([429, 500, 502, 503, 504, 408])("fault 80: %i is tried again", async (code) => {
    const server = await startServer();
    server.fault({ path: /^\/api/, times: 2 }, faults.status(code));
    server.fault({ path: /resolve/, times: 2 }, faults.status(code));
    server.fault({ part: "storage", times: 2 }, faults.status(code));
    const hub = client(server.endpoint, await emptyCache(), { retry: { retries: 4, baseMs: 1 } });
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
  });

  it("fault 80: Retry-After in seconds and as a date is obeyed", async () => {
    const server = await startServer();
    server.fault({ path: /resolve/, times: 1 }, faults.status(429, { "retry-after": "1" }));
    const inAMoment = new Date(Date.now() + 86_400_000);
    server.fault(
      { part: "storage", times: 1 },
      faults.status(503, {
        date: inAMoment.toUTCString(),
        "retry-after": new Date(inAMoment.getTime() + 1000).toUTCString(),
      }),
    );
    const { events, onEvent } = recorder();
    await client(server.endpoint, await emptyCache()).file("org/tiny", large, { onEvent });
    expect(events.filter((event) => event.type === "retry").map(({ waitMs }) => waitMs)).toEqual([1000, 1000]);
  });

  it("fault 80: absurd values of Retry-After", async () => {
    expect([
      waitFor("-5"),
      waitFor("soon"),
      waitFor("NaN"),
      waitFor(""),
      waitFor("1e9"),
      waitFor("Thu, 01 Jan 1970 00:00:00 GMT"),
    ]).toEqual([undefined, undefined, undefined, undefined, undefined, 0]);
    expect(waitFor("", { ratelimit: '"api";r=0;t=55' })).toBe(55_000);

    const server = await startServer();
    server.fault({ path: /^\/api/ }, faults.status(429, { "retry-after": "999999999" }));
    const error = await rejection(client(server.endpoint, await emptyCache()).file("org/tiny", large));
    expect(error).toMatchObject({
      code: "hub-rate-limited",
      message: expect.stringMatching(/999999999 s.*HF_TOKEN|HF_TOKEN.*999999999 s/) as string,
    });
    expect(server.requests).toHaveLength(1);
  });

  it("fault 80: gives up after its retries", async () => {
    const server = await startServer();
    server.fault({}, faults.status(503));
    const error = await rejection(client(server.endpoint, await emptyCache()).file("org/tiny", large));
    expect(error).toBeInstanceOf(HubNetworkError);
    expect(error).toMatchObject({
      code: "hub-server-error",
      message: expect.stringMatching(/Run again later\.$/) as string,
    });
    expect(server.requests).toHaveLength(4);
  });

  it("an expired signature is renewed at the Hub", async () => {
    const server = await startServer();
    server.fault({ part: "storage", after: 2, times: 1 }, faults.status(403));
    const hub = client(server.endpoint, await emptyCache(), { parallelBytes: 1, pieceBytes: 100_000, connections: 1 });
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
  });
});

describe("what a person must do", () => {
  it("fault 82: gated, without a token and with one that was not accepted", async () => {
    const repositories = [{ ...model, gated: ["hf_accepted"] }];
    const server = await startServer({ repositories, tokens: [token] });
    const folder = await emptyCache();
    for (const given of [false, token] as const) {
      const error = await rejection(client(server.endpoint, folder, { token: given }).file("org/tiny", large));
      expect(error).toBeInstanceOf(HubAccessError);
      expect(error.code).toBe("hub-gated");
      expect(error.message).toContain(`${server.endpoint}/org/tiny`);
      expect(error.message).toContain(given === false ? "HF_TOKEN" : "the option `token`");
    }
    const accepted = client(server.endpoint, folder, { token: "hf_accepted" });
    expect(await holdsWeights(await accepted.file("org/tiny", large))).toBe(true);
  });

  it("fault 82: a private or missing repository, a wrong token, no permission", async () => {
    const server = await startServer({ repositories: [{ ...model, private: ["hf_mine"] }], tokens: [token] });
    const folder = await emptyCache();
    const environment = { HF_HOME: folder, HF_TOKEN: token };
    const hidden = await rejection(client(server.endpoint, folder, { environment }).file("org/tiny", large));
    expect(hidden).toMatchObject({ code: "hub-repository-not-found" });
    expect(hidden.message).toMatch(/private.*environment variable HF_TOKEN/);
    const anonymous = await rejection(client(server.endpoint, folder).file("org/tiny", large));
    expect(anonymous.message).toMatch(/No access token.*HF_TOKEN/);
    const unknown = await rejection(client(server.endpoint, folder, { token: "hf_expired" }).file("org/tiny", large));
    expect(unknown).toMatchObject({
      code: "hub-unauthorized",
      message: expect.stringContaining("settings/tokens") as string,
    });
    server.fault({ path: /resolve/ }, faults.status(403, { "x-error-message": `no rights for ${token}` }));
    const hub = client(server.endpoint, folder, { token: "hf_mine" });
    expect(await rejection(hub.file("org/tiny", large))).toMatchObject({ code: "hub-forbidden" });
  });

  it("fault 82: 404 of a file, a revision, a repository, with the nearest names", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder);
    const file = await rejection(hub.file("org/tiny", "onnx/modle.onnx"));
    expect(file).toBeInstanceOf(HubNotFoundError);
    expect(file).toMatchObject({ code: "hub-file-not-found", details: { nearest: ["onnx/model.onnx"] } });
    const elsewhere = await rejection(hub.file("org/tiny", "model.onnx"));
    expect(elsewhere.message).toContain('Nearest names: "onnx/model.onnx"');
    const revision = await rejection(hub.file("org/tiny", large, { revision: "mian" }));
    expect(revision).toMatchObject({ code: "hub-revision-not-found", details: { nearest: ["main"] } });
    expect(revision.message).toMatch(/ Nearest names: "main"\.$/);
    const repository = await rejection(hub.file("org/tinny", large));
    expect(repository).toMatchObject({ code: "hub-repository-not-found", details: { nearest: ["org/tiny"] } });
  });
});

describe("where the token goes", () => {
  it("fault 83: to the endpoint only, not to the storage that it redirects to", async () => {
    const server = await startServer({ repositories: [{ ...model, private: [token] }] });
    await client(server.endpoint, await emptyCache(), { token }).snapshot("org/tiny");
    const sent = (part: string): Set<string | undefined> =>
      new Set(
        server.requests.filter((request) => request.part === part).map(({ headers }) => headers["authorization"]),
      );
    expect(sent("hub")).toEqual(new Set([`Bearer ${token}`]));
    expect(sent("storage")).toEqual(new Set([undefined]));
  });

  it("fault 83: not to the next page of a list at another host, which is not followed", async () => {
    const received: unknown[] = [];
    const evil = await otherHost(
      createServer((request, response) => {
        received.push(request.headers);
        response.end("[]");
      }),
    );
    const server = await startServer();
    server.fault({ path: /\/tree\// }, faults.headers({ link: `<${evil}/api/models/org/tiny/tree/main>; rel="next"` }));
    const error = await rejection(client(server.endpoint, await emptyCache(), { token: false }).snapshot("org/tiny"));
    expect(error).toMatchObject({ code: "hub-redirect" });
    expect(received).toEqual([]);
  });

  it("fault 83: redirects to less secure, malformed or circular places are not followed", async () => {
    const server = await startServer();
    const hub = client(server.endpoint, await emptyCache());
    const attempt = async (location: string): Promise<string> => {
      server.clearFaults();
      server.fault({ path: /resolve/ }, faults.redirect(location));
      const error = await rejection(hub.file("org/tiny", large));
      expect(error.code).toBe("hub-redirect");
      return error.message;
    };
    expect(await attempt("file:///etc/passwd")).toContain("not be secure");
    expect(await attempt("http://user:secret@127.0.0.1/x")).not.toContain("secret");
    expect(await attempt("http://[")).toContain("not a URL");
    expect(await attempt(`${server.endpoint}/org/tiny/resolve/main/a`)).toContain("in a circle");
    server.clearFaults();
    let hops = 0;
    server.fault({ path: /resolve/ }, () => faults.redirect(`/org/tiny/resolve/main/${hops++}`)({} as never));
    expect(await rejection(hub.file("org/tiny", large))).toMatchObject({
      message: expect.stringContaining("more than 5 times") as string,
    });
  });

  it("fault 83: https to http is refused", async () => {
    const hub = client("https://127.0.0.1:9", await emptyCache(), {
      fetch: async () => ({
        status: 302,
        type: "default",
        url: "",
        headers: { get: (name) => (name === "location" ? "http://127.0.0.1:9/plain" : null) },
        body: null,
      }),
    });
    expect(await rejection(hub.snapshot("org/tiny"))).toMatchObject({
      code: "hub-redirect",
      message: expect.stringContaining("secure") as string,
    });
  });

  it("fault 83: a redirect to the same origin keeps the token: a renamed repository", async () => {
    const server = await startServer({ repositories: [{ ...model, private: [token] }] });
    server.fault({ path: /resolve/, times: 1 }, (answer) => faults.redirect(`/org/tiny/resolve/main/${large}`)(answer));
    const hub = client(server.endpoint, await emptyCache(), { token });
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
  });

  it.each(["http://127.0.0.1.evil.example", "http://localhost.evil", "http://127.0.0.1:1"])(
    "fault 84: not to a look-alike of the endpoint, %s",
    async (lookAlike) => {
      const server = await startServer({ repositories: [{ ...model, private: [token] }] });
      const sent: { url: string; authorization: string | undefined }[] = [];
      server.fault({ path: /resolve/ }, faults.redirect(`${lookAlike}/lfs/x`));
      const hub = client(server.endpoint, await emptyCache(), {
        token,
        // Names are not looked up and nothing leaves this machine: requests to other hosts end here.
        fetch: async (url, init) => {
          sent.push({ url, authorization: init.headers["authorization"] });
          if (!url.startsWith(`${server.endpoint}/`)) throw new TypeError("fetch failed");
          return fetch(url, init);
        },
      });
      await rejection(hub.file("org/tiny", large));
      const elsewhere = sent.filter(({ url }) => url.startsWith(lookAlike));
      expect(elsewhere.length).toBeGreaterThan(0);
      expect(elsewhere.every(({ authorization }) => authorization === undefined)).toBe(true);
    },
  );

  it("never shows: not in errors, events, or the inspection of the client", async () => {
    const server = await startServer({ tokens: [] });
    server.fault({}, faults.headers({ "x-error-message": `bad token ${token}`, "x-error-code": "" }));
    const { events, onEvent } = recorder();
    const hub = client(server.endpoint, await emptyCache(), { token });
    for (const code of [403, 418, 500]) {
      server.fault({}, (answer) => ({ ...answer, status: code }));
      const error = await rejection(hub.file("org/tiny", large, { onEvent }));
      expect(inspect([error, events, hub], { depth: 20, showHidden: true })).not.toContain(token);
      expect(JSON.stringify([error, { ...error }, events])).not.toContain(token);
    }
  });
});

describe("between us and the Hub", () => {
  it("fault 97: an endpoint with a path", async () => {
    const server = await startServer({ basePath: "/mirror/hf", pageSize: 2 });
    const folder = await emptyCache();
    const { files } = await client(`${server.endpoint}/`, folder, { token: false }).snapshot("org/tiny");
    expect(files.size).toBe(5);
    // A mirror may pass on the Hub's own links to further pages.
    server.fault({ path: /\/tree\/[^?]*\?recursive/, times: 1 }, (answer) => ({
      ...answer,
      headers: {
        ...answer.headers,
        link: (answer.headers["link"] ?? "").replace(server.endpoint, "https://huggingface.co"),
      },
    }));
    const other = await client(server.endpoint, await emptyCache()).plan("org/tiny");
    expect(other.files).toHaveLength(5);
  });

  it.each(["ftp://hub", "https://user:hf_secret@hub", "https://hub?token=hf_secret", "hub.example", ""])(
    "fault 97: the endpoint %j is refused without showing secrets",
    async (endpoint) => {
      const folder = await emptyCache();
      expect(() => client(endpoint, folder)).toThrow(/HF_ENDPOINT/);
      expect(() => client(endpoint, folder)).not.toThrow(/hf_secret/);
    },
  );

  it("fault 97: a proxy from the environment is used, and NO_PROXY is obeyed", async () => {
    const server = await startServer();
    const tunnels: string[] = [];
    const proxy = createServer().on("connect", (request, socket, head) => {
      tunnels.push(request.url!);
      const [host, port] = request.url!.split(":") as [string, string];
      const onward = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
        onward.write(head);
        socket.pipe(onward).pipe(socket);
      });
      for (const end of [socket, onward]) end.on("error", () => end.destroy());
    });
    const HTTP_PROXY = await otherHost(proxy);
    const folder = await emptyCache();
    const environment = { HF_HOME: folder, HTTP_PROXY };
    expect(await holdsWeights(await client(server.endpoint, folder, { environment }).file("org/tiny", large))).toBe(
      true,
    );
    expect(new Set(tunnels.map((host) => `http://${host}`))).toEqual(new Set([server.endpoint, server.storage]));

    tunnels.length = 0;
    const direct = { ...environment, NO_PROXY: "127.0.0.1" };
    await client(server.endpoint, await emptyCache(), { environment: direct }).file("org/tiny", large);
    expect(tunnels).toEqual([]);
  });

  it("a Hub that is not there", async () => {
    const server = await HubServer.start({ repositories: [] });
    const { endpoint } = server;
    await server.close();
    const error = await rejection(client(endpoint, await emptyCache()).file("org/tiny", large));
    expect(error).toMatchObject({
      code: "hub-unreachable",
      message: expect.stringContaining("ECONNREFUSED") as string,
    });
  });
});
