/**
 * How long an input may be in onnxruntime-web (wasm, Chromium), with exact attention as an exporter writes it and by blocks:
 * one forward pass of random tokens at each length, each in a browser of its own, until one fails.
 *
 *   npm run build && npm run lossless-browser -w @favor/bench -- OUTPUT.json [MODEL.onnx...]
 *
 * Without a model, measures an encoder of BERT-base's shape with random weights, of `--layers` layers. `--lengths
 * 1024,2048` measures at these alone, `--forms "exact, standard"` this form. A pass may take `--seconds`; what is exact by block
 * and would take longer by the length before is not tried. The page has `--threads`, one by default.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundle } from "@favor/test-support/bundle";
import { findChromium, openPage } from "@favor/test-support/chromium";
import { subjects, writeVariant } from "./lossless-subjects.ts";
import type { BrowserFile, BrowserOutcome, BrowserResult } from "./lossless-table.ts";

const require = createRequire(import.meta.url);
const imports = { "onnxruntime-web/wasm": "/onnxruntime.js" };

/** What the page needs besides the model. */
async function pageFiles(): Promise<Record<string, string | Uint8Array>> {
  const page = fileURLToPath(new URL("../src/lossless-page.ts", import.meta.url));
  return {
    "/": `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script><script type="module" src="/page.js"></script>`,
    "/page.js": await bundle(page, [/^onnxruntime-web/]),
    "/onnxruntime.js": readFileSync(require.resolve("onnxruntime-web/wasm").replace(/\.js$/, ".mjs")),
    "/onnxruntime-threads.js": readFileSync(require.resolve("onnxruntime-web/ort-wasm-simd-threaded.mjs")),
    "/onnxruntime.wasm": readFileSync(require.resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm")),
  };
}

interface Limits {
  readonly threads: number;
  readonly seconds: number;
  readonly lengths: readonly number[];
  readonly layers: number;
  /** Names of variants. */
  readonly forms: readonly string[];
}

async function measure(output: string, given: readonly string[], limits: Limits): Promise<void> {
  const { threads, seconds: most, lengths, layers, forms } = limits;
  const chromium = findChromium();
  if (chromium === undefined) throw new Error("There is no Chromium: set CHROMIUM to its program.");
  const folder = mkdtempSync(join(tmpdir(), "favor-lossless-"));
  const results: BrowserResult[] = [];
  try {
    const files = await pageFiles();
    for (const { title, path, variants } of await subjects({ given, layers, folder })) {
      for (const variant of variants.filter(({ name }) => forms.includes(name))) {
        const model = readFileSync(await writeVariant(path, join(folder, "variant.onnx"), variant, lengths.at(-1)!));
        const pages = { files: { ...files, "/model.onnx": model }, isolated: true, seconds: most };
        const passes: BrowserResult["passes"][number][] = [];
        for (const length of lengths) {
          const before = passes.at(-1);
          if (before !== undefined && "failure" in before) break;
          // What takes too much memory fails at once.
          const growth = before === undefined ? 0 : (length / before.length) ** 2;
          if (!variant.isQuadratic && before !== undefined && before.seconds * growth > most) break;
          const opened = await openPage(chromium, { ...pages, path: `/?length=${length}&threads=${threads}` });
          const late = { failure: `no answer within ${most} s` };
          passes.push({ length, ...((opened ?? late) as BrowserOutcome) });
          process.stderr.write(`${title}, ${variant.name}: ${JSON.stringify(passes.at(-1))}\n`);
        }
        results.push({ title, variant: variant.name, passes });
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const browser = execFileSync(chromium, ["--version"], { encoding: "utf8" }).trim();
  const { version } = JSON.parse(
    readFileSync(new URL("../package.json", `file://${require.resolve("onnxruntime-web/wasm")}`), "utf8"),
  ) as { version: string };
  const machine = { processor: cpus()[0]!.model, browser, onnxruntimeWeb: version, threads };
  writeFileSync(output, `${JSON.stringify({ machine, results } satisfies BrowserFile, undefined, 1)}\n`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    forms: { type: "string", default: "export;exact, standard" },
    layers: { type: "string", default: "12" },
    lengths: { type: "string", default: "1024,2048,4096,8192,16384,32768,65536" },
    seconds: { type: "string", default: "900" },
    threads: { type: "string", default: "1" },
  },
});
const [output, ...given] = positionals;
if (output === undefined) throw new Error("usage: lossless-browser.js OUTPUT.json [MODEL.onnx...]");
await measure(output, given, {
  forms: values.forms.split(";"),
  layers: Number(values.layers),
  lengths: values.lengths.split(",").map(Number),
  seconds: Number(values.seconds),
  threads: Number(values.threads),
});
