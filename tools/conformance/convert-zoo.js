// Converts models by the packages of one built checkout, and prints a line of JSON for each: what was written.
// compare-commits.js runs it once per commit:
//   node convert-zoo.js <checkout> <folder for models> <folder with manifest.json> ...
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync, readFileSync, rmSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { pathToFileURL } from "node:url";

const [checkout, output, ...zoos] = process.argv.slice(2);
const built = (...path) => pathToFileURL(join(checkout, "packages", ...path)).href;

// Before the rewriter was a package of its own, it was a part of @favor/onnx.
const rewriter = existsSync(join(checkout, "packages/rewriter")) ? "rewriter" : "onnx";
const { convertAttention } = await import(built(rewriter, "dist/index.js"));
const { openModel, writeModel } = await import(built("onnx", "dist/node/index.js"));

for (const zoo of zoos) {
  const entries = JSON.parse(readFileSync(join(zoo, "manifest.json"), "utf8"));
  for (const { name, model, verdict } of entries) {
    if (!verdict.startsWith("convert")) continue;
    for (const features of ["exact", "positive"]) {
      const found = await converted(join(zoo, model), features).catch((error) => ({
        // Messages may be worded anew; codes are what counts.
        error: `${error.name} "${error.code}"`,
      }));
      console.log(JSON.stringify({ name: `${zoo}/${name}`, features, ...found }));
    }
  }
}

/** Digests of all files that the conversion writes, by name, and how many attentions it replaced. */
async function converted(path, features) {
  const folder = join(output, "onnx");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const opened = await openModel(path);
  try {
    const { model, sites } = convertAttention(opened.model, { features, count: 32, seed: 1 });
    await writeModel(model, join(folder, "model.onnx"));
    const files = {};
    for (const file of readdirSync(folder).toSorted()) files[file] = await digest(join(folder, file));
    return { replaced: sites.length, files };
  } finally {
    opened.close();
  }
}

async function digest(path) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
