import * as onnxNode from "@favor/onnx/node";
import * as favorTfjs from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import * as onnxTfjs from "../src/index.ts";
import { version } from "@favor/test-support/backends";

it("the README's example prints what the README says", async () => {
  expect(version).toBe(tf.version["tfjs-core"]);
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, code] = /```js\n([\s\S]*?)```/.exec(readme) ?? [];
  const [, printed] = /This prints\s+```\n([\s\S]*?)```/.exec(readme) ?? [];
  const folder = mkdtempSync(join(tmpdir(), "favor-readme-"));
  try {
    const checkpoint = new URL("../../../examples/antibody/checkpoint/onnx/model.onnx", import.meta.url);
    copyFileSync(fileURLToPath(checkpoint), join(folder, "model.onnx"));
    const body = code!
      .replaceAll(/import .*;\n/g, "")
      .replaceAll(/"(\w+\.onnx)"/g, (_, name: string) => JSON.stringify(join(folder, name)));
    const lines: string[] = [];
    const print = { log: (...values: unknown[]) => lines.push(values.join(" ")) };
    const names: Record<string, unknown> = { ...onnxTfjs, ...onnxNode, ...favorTfjs, tf, console: print };
    const keys = ["OnnxModel", "openModel", "writeModel", "repairBackend", "tf", "console"];
    const run = new Function(...keys, `return (async () => {${body}})();`) as (...values: unknown[]) => Promise<void>;
    await run(...keys.map((key) => names[key]));
    expect(`${lines.join("\n")}\n`).toBe(printed);
    expect(existsSync(join(folder, "trained.onnx"))).toBe(true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** `domain:opType` of the names in a list. */
const names = (list: string | undefined, domain: string): string[] =>
  [...(list ?? "").matchAll(/`(\w+)`/g)].map(([, name]) => `${domain}:${name}`);

it("the README lists the operators that run", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, standard, microsoft] = /## Operators\n[^`]*([^.]*)\.[^`]*`com\.microsoft`:\s*([^.]*)\./.exec(readme) ?? [];
  expect([...names(standard, ""), ...names(microsoft, "com.microsoft")]).toEqual(onnxTfjs.supportedOperators());
});
