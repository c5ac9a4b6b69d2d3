import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { convertAttention } from "@favor/rewriter";
import { decodeModel } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, it } from "vitest";
import { OnnxModel } from "../../src/index.ts";
import { version } from "@favor/test-support/backends";
import { findChromium, openPage } from "@favor/test-support/chromium";

const require = createRequire(import.meta.url);
const chromium = findChromium();
const folderOf = (name: string): string => dirname(require.resolve(`${name}/package.json`));

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>;
}

/** The addresses of a package's entries by their names, and its built files by their addresses. */
function published(name: string): { imports: Record<string, string>; files: Record<string, Uint8Array> } {
  const folder = folderOf(name);
  const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
  const imports = Object.entries(exports).flatMap(([path, target]) =>
    typeof target === "string" ? [] : [[name + path.slice(1), `/${name}/${target.default.slice(2)}`]],
  );
  const built = readdirSync(join(folder, "dist"), { recursive: true, encoding: "utf8" });
  const files = built
    .filter((file) => file.endsWith(".js"))
    .map((file) => [`/${name}/dist/${file}`, readFileSync(join(folder, "dist", file))]);
  return { imports: Object.fromEntries(imports) as Record<string, string>, files: Object.fromEntries(files) };
}

const model = readFileSync(new URL("../../../../examples/antibody/checkpoint/onnx/model.onnx", import.meta.url));
const nothing = "data:text/javascript,export default {}";

function pageFiles(): Record<string, string | Uint8Array> {
  const own = ["core", "onnx", "rewriter", "tfjs", "onnx-tfjs"].map((name) => published(`@favor/${name}`));
  const imports = {
    ...Object.assign({}, ...own.map((each) => each.imports)),
    long: "/long.js",
    "@tensorflow/tfjs-core": "/core.js",
    "@tensorflow/tfjs-backend-wasm": "/wasm.js",
    // tfjs' own backend imports these, and uses them in Node only
    ...Object.fromEntries(["fs", "os", "path", "perf_hooks"].map((name) => [name, nothing])),
  };
  const wasm = join(folderOf("@tensorflow/tfjs-backend-wasm"), "dist");
  const binaries = readdirSync(wasm).filter((file) => file.endsWith(".wasm"));
  return {
    ...Object.assign({}, ...own.map((each) => each.files)),
    "/": `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script><script type="module" src="/page.js"></script>`,
    "/page.js": readFileSync(new URL("page.js", import.meta.url)),
    "/model.onnx": model,
    "/long.js": readFileSync(fileURLToPath(import.meta.resolve("long"))),
    "/core.js": readFileSync(join(folderOf("@tensorflow/tfjs-core"), "dist/tf-core.fesm.min.js")),
    "/wasm.js": readFileSync(join(wasm, "tf-backend-wasm.fesm.min.js")),
    ...Object.fromEntries(binaries.map((file) => [`/wasm/${file}`, readFileSync(join(wasm, file))])),
  };
}

interface Report {
  readonly error?: string;
  readonly attended: number[];
  readonly logits: number[];
  readonly converted: number[];
}

describe.skipIf(!chromium)("the built packages in a page with an import map (skipped: no chromium)", () => {
  let report: Report;
  beforeAll(async () => {
    report = (await openPage(chromium!, { files: pageFiles(), path: "/", isolated: false })) as Report;
  });

  it("load, without a bundler, and with tfjs-core alone", () => {
    expect(report.error).toBe(undefined);
    expect(report.attended.every((x) => Math.abs(x - 1) < 1e-5)).toBe(true);
  });

  it("run and convert a model as they do in Node", async () => {
    expect(version).toBe(tf.version["tfjs-core"]);
    await tf.setBackend("wasm");
    const feeds = Object.fromEntries(
      Object.entries({ input_ids: 7, attention_mask: 1, token_type_ids: 0 }).map(([name, value]) => [
        name,
        { dims: [1, 8], data: new Int32Array(8).fill(value) },
      ]),
    );
    const { model: converted } = await convertAttention(decodeModel(model), {});
    for (const [name, source] of Object.entries({ logits: new Uint8Array(model), converted })) {
      const loaded = await OnnxModel.load(source);
      const expected = (loaded.run(feeds)["logits"] as tf.Tensor).dataSync();
      const actual = report[name as "logits" | "converted"];
      expect(actual).toHaveLength(expected.length);
      expect(Math.max(...actual.map((x, i) => Math.abs(x - expected[i]!)))).toBeLessThan(1e-4);
    }
  });
});
