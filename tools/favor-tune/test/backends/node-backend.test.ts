import { createRequire } from "node:module";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import util from "node:util";
import { pathToFileURL } from "node:url";

import * as tf from "@tensorflow/tfjs";
import { afterEach, beforeEach, expect, test } from "vitest";

import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { openNodeBackend } from "../../src/backends/node-backend.ts";

/** Registers a backend that computes nothing, by calls that Node 23 no longer has. */
const registering = `
const tf = require("@tensorflow/tfjs");
const util = require("util");
if (!util.isNullOrUndefined(undefined) || util.isNullOrUndefined(0) || !util.isArray([])) throw new Error("type checks");
tf.registerBackend("tensorflow", () => Object.assign(new tf.KernelBackend(), { dispose() {} }));
`;

const names = ["isNullOrUndefined", "isArray"] as const;
const checks = names.map((name) => [name, Object.getOwnPropertyDescriptor(util, name)] as const);

beforeEach(() => {
  // As on Node 23.
  for (const name of names) Reflect.deleteProperty(util, name);
});

afterEach(() => {
  if (tf.findBackendFactory("tensorflow") !== null) tf.removeBackend("tensorflow");
  for (const [name, check] of checks) if (check !== undefined) Object.defineProperty(util, name, check);
});

/** A project where stand-ins of packages are installed: name, version, code. @returns its place. */
async function project(
  ...packages: readonly (readonly [name: string, version: string, code: string])[]
): Promise<string> {
  const folder = await temporaryFolder();
  const scope = join(folder, "node_modules", "@tensorflow");
  await mkdir(scope, { recursive: true });
  const tfjs = dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs/package.json"));
  await symlink(tfjs, join(scope, "tfjs"), "junction");
  for (const [name, version, code] of packages) {
    await mkdir(join(scope, name));
    await writeFile(
      join(scope, name, "package.json"),
      JSON.stringify({ name: `@tensorflow/${name}`, version, main: "index.js" }),
    );
    await writeFile(join(scope, name, "index.js"), code);
  }
  return pathToFileURL(join(folder, "package.json")).href;
}

test("an installed tfjs-node registers its backend, with what Node 23 removed given back", async () => {
  const empty = await project();
  const place = await project(["tfjs-node", tf.version_core, registering]);
  expect(await openNodeBackend([empty, place])).toMatchObject({
    name: "tensorflow",
    description: "libtensorflow (@tensorflow/tfjs-node)",
  });
  expect(tf.getBackend()).toBe("tensorflow");
});

test("CUDA's bindings come first; where they do not load, the others are taken", async () => {
  const both = await project(
    ["tfjs-node-gpu", tf.version_core, registering],
    ["tfjs-node", tf.version_core, "throw new Error('not reached')"],
  );
  expect(await openNodeBackend([both])).toMatchObject({ description: "libtensorflow (@tensorflow/tfjs-node-gpu)" });
  if (tf.findBackendFactory("tensorflow") !== null) tf.removeBackend("tensorflow");
  const broken = await project(
    ["tfjs-node-gpu", tf.version_core, "throw new Error('libcudart.so.11.0: cannot open')"],
    ["tfjs-node", tf.version_core, registering],
  );
  expect(await openNodeBackend([broken])).toMatchObject({ description: "libtensorflow (@tensorflow/tfjs-node)" });
});

test.each([
  [
    "another version",
    "4.10.0",
    registering,
    /tfjs-node 4\.10\.0 is installed.*npm install @tensorflow\/tfjs-node@4\.\d+/,
  ],
  [
    "a native part that is missing",
    tf.version_core,
    "throw new Error('The Node.js native addon module (tfjs_binding.node) can not be found at path: x\\nmore')",
    /tfjs-node does not load \(The Node\.js native addon .* path: x\)\..*npm rebuild @tensorflow\/tfjs-node/,
  ],
  ["no backend", tf.version_core, "", /registers no backend/],
])("%s: what is missing is said, and what to do", async (_, version, code, message) => {
  const place = await project(["tfjs-node", version, code]);
  expect(await openNodeBackend([place])).toEqual({ missing: expect.stringMatching(message) as string });
  expect(tf.findBackend("tensorflow")).toBeNull();
});

test("nothing installed", async () => {
  expect(await openNodeBackend([await project()])).toEqual({
    missing: expect.stringMatching(/Neither @tensorflow\/tfjs-node-gpu nor .* is installed: npm install/) as string,
  });
});
