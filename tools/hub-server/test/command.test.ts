import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";

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
