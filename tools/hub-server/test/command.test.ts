import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";

import { serve, UsageError } from "../src/command.ts";

let folder: string;

beforeAll(() => {
  folder = join(mkdtempSync(join(tmpdir(), "hub-server-")), "model");
  mkdirSync(folder);
  writeFileSync(join(folder, "config.json"), "{}");
});
afterAll(() => rmSync(join(folder, ".."), { recursive: true, force: true }));

it("serves a folder under the name that it is given", async () => {
  const served = await serve([`org/name=${folder}`, "--port", "0"]);
  if (!("server" in served)) throw new Error("a server was expected");
  const { server } = served;
  onTestFinished(() => server.close());
  const answer = await fetch(`${server.endpoint}/org/name/resolve/main/config.json`);
  expect(await answer.text()).toBe("{}");
});

it.each([
  [["/nowhere/at/all"], "/nowhere/at/all is not a folder"],
  [[import.meta.filename], "is not a folder"],
  [["--folder"], "Unknown option '--folder'"],
  [[".", "--fault", "explode"], 'Unknown fault "explode": use cut:N'],
  [[".", "--fault", "cut"], 'cut:N takes a whole number (of bytes), found "cut"'],
  [[".", "--fault", "stall:-1"], "stall:N takes a whole number"],
  [[".", "--fault", "status:9000"], "status:N takes a status from 200 to 599"],
  [[".", "--fault", "corrupt:5"], 'corrupt takes no number, found "corrupt:5"'],
  [[".", "--port", "many"], '--port takes a number from 0 to 65535, found "many"'],
  [[".", "--port", "70000"], "--port takes a number"],
])("%j is refused with what to do", async (argv, message) => {
  const refused = serve(argv);
  await expect(refused).rejects.toBeInstanceOf(UsageError);
  await expect(refused).rejects.toThrow(message);
});

it("a port in use is named", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void other.close());
  const { port } = other.address() as AddressInfo;
  await expect(serve([folder, "--port", String(port)])).rejects.toThrow(`Port ${port} is in use`);
});

it("without a folder: how it is used", async () => {
  expect(await serve([])).toMatchObject({ exitCode: 2 });
  expect(await serve(["--help"])).toMatchObject({ exitCode: 0 });
});

/** What a program sees of a file of 20,000 bytes: status, headers, and the bytes or the error on the way. */
async function seen(fault: string, name: string, headers: Record<string, string> = {}) {
  const served = await serve([`org/name=${folder}`, "--port", "0", "--fault", fault]);
  if (!("server" in served)) throw new Error("a server was expected");
  onTestFinished(() => served.server.close());
  const answer = await fetch(`${served.server.endpoint}/org/name/resolve/main/${name}`, { headers });
  const bytes = await answer.arrayBuffer().then(
    (buffer) => Buffer.from(buffer),
    (error: Error) => error.message,
  );
  return { status: answer.status, headers: answer.headers, bytes };
}

/** How many bits differ. */
function differences(a: Uint8Array, b: Uint8Array): number {
  return a.reduce((sum, byte, i) => sum + (byte ^ b[i]!).toString(2).replaceAll("0", "").length, 0);
}

// A small file that Git keeps and one that the storage keeps: both lie on disk, as all that the command serves.
describe.each(["large.txt", "large.bin"])("faults of a folder's file %s", (name) => {
  const original = Buffer.from(Array.from({ length: 20_000 }, (_, i) => (i * i) % 251));

  beforeAll(() => writeFileSync(join(folder, name), original));

  it("corrupt: one bit", async () => {
    const { status, bytes } = await seen("corrupt", name);
    expect(status).toBe(200);
    expect(bytes).toHaveLength(20_000);
    expect(differences(original, bytes as Buffer)).toBe(1);
    const part = await seen("corrupt", name, { range: "bytes=100-199" });
    expect(part.status).toBe(206);
    expect(differences(original.subarray(100, 200), part.bytes as Buffer)).toBe(1);
  });

  it("gzip: compressed, and of no length", async () => {
    const { headers, bytes } = await seen("gzip", name);
    expect([headers.get("content-encoding"), headers.get("content-length")]).toEqual(["gzip", null]);
    expect(original.equals(bytes as Buffer)).toBe(true);
  });

  it("cut: the connection breaks", async () => {
    expect((await seen("cut:5000", name)).bytes).toBe("terminated");
  });

  it("status: as told, of the file alone", async () => {
    expect((await seen("status:503", name)).status).toBe(503);
  });

  it("ignore-range: the whole file", async () => {
    const { status, bytes } = await seen("ignore-range", name, { range: "bytes=100-199" });
    expect([status, original.equals(bytes as Buffer)]).toEqual([200, true]);
  });

  it("no-length: in chunks", async () => {
    const { headers, bytes } = await seen("no-length", name);
    expect([headers.get("content-length"), original.equals(bytes as Buffer)]).toEqual([null, true]);
  });
});
