import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "@favor/test-support/bundle";

const require = createRequire(import.meta.url);
const folder = fileURLToPath(new URL("../..", import.meta.url));

/** A file of a package of tfjs. */
function distributed(name: string, file: string): Buffer {
  return readFileSync(join(dirname(require.resolve(`@tensorflow/${name}/package.json`)), file));
}

const nothing = "data:text/javascript,export default {}";
/** A page without a bundler: the packages by name, each the ES module that it publishes. */
const imports = {
  "@tensorflow/tfjs": "/tfjs.js",
  // the backends import the core by itself; the union package exports all of it
  "@tensorflow/tfjs-core": "/tfjs.js",
  "@tensorflow/tfjs-backend-wasm": "/wasm.js",
  "@tensorflow/tfjs-backend-webgpu": "/webgpu.js",
  "@favor/core": "/core.js",
  "@favor/tfjs": "/favor.js",
  ...Object.fromEntries(["fs", "os", "path", "perf_hooks"].map((name) => [name, nothing])),
};

/** Everything that the page needs, by path. */
export async function pageFiles(): Promise<Record<string, string | Uint8Array>> {
  const others = [/^@tensorflow\//, /^@favor\//];
  const wasmFiles = ["tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm", "tfjs-backend-wasm-threaded-simd.wasm"];
  const wasm = wasmFiles.map((file) => [`/wasm/${file}`, distributed("tfjs-backend-wasm", `dist/${file}`)] as const);
  return {
    "/": `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script><script type="module" src="/page.js"></script>`,
    "/page.js": await bundle(fileURLToPath(new URL("page.ts", import.meta.url)), others),
    "/favor.js": await bundle(join(folder, "src/index.ts"), others),
    "/core.js": await bundle(join(dirname(require.resolve("@favor/core/package.json")), "src/index.ts")),
    "/tfjs.js": distributed("tfjs", "dist/tf.fesm.min.js"),
    "/wasm.js": distributed("tfjs-backend-wasm", "dist/tf-backend-wasm.fesm.min.js"),
    "/webgpu.js": distributed("tfjs-backend-webgpu", "dist/tf-backend-webgpu.fesm.min.js"),
    ...Object.fromEntries(wasm),
  };
}
