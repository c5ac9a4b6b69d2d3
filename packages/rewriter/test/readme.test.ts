import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import * as rewriter from "../src/index.ts";
import * as onnxNode from "@favor/onnx/node";

const root = new URL("../../..", import.meta.url).pathname;

it("the README's example prints what the README says", async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, code] = /```js\n([\s\S]*?)```/.exec(readme) ?? [];
  const [, printed] = /this prints\s+```\n([\s\S]*?)```/.exec(readme) ?? [];
  const folder = mkdtempSync(join(tmpdir(), "favor-readme-"));
  try {
    copyFileSync(join(root, "examples/antibody/checkpoint/onnx/model.onnx"), join(folder, "model.onnx"));
    const body = code!
      .replaceAll(/import \{.*\} from .*;\n/g, "")
      .replaceAll(/"(\w+\.onnx)"/g, (_, name: string) => JSON.stringify(join(folder, name)));
    const lines: string[] = [];
    const print = { log: (...values: unknown[]) => lines.push(values.join(" ")) };
    const names = { ...rewriter, ...onnxNode, console: print };
    const keys = ["convertAttention", "inspectAttention", "openModel", "writeModel", "console"] as const;
    const run = new Function(...keys, `return (async () => {${body}})();`) as (...values: unknown[]) => Promise<void>;
    await run(...keys.map((key) => names[key]));
    expect(`${lines.join("\n")}\n`).toBe(printed);
    expect(existsSync(join(folder, "linear.onnx"))).toBe(true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
