// Writes what the example of long documents measured into the documents: docs/measurements/quality-at-length.{json,md,svg}, and
// the picture and the table of the root README.
//   node examples/long-documents/demo.js --long
//   npm run build && npm run quality-at-length -w @favor/bench [-- FIGURES.json]
// FIGURES.json is relative to tools/bench; default: out/long-documents/figures.json of the repository. A test fails while the
// documents are not what the figures give.
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { docs, measured } from "./measured.ts";
import type { QualityAtLength } from "./measured.ts";
import { headlineTable, qualityPage, qualityPicture } from "./quality-at-length-page.ts";
import { readmePicture } from "./readme-picture.ts";

const [given] = process.argv.slice(2);
const source =
  given === undefined ? new URL("../out/long-documents/figures.json", docs) : pathToFileURL(resolve(given));
const at = (name: string): URL => new URL(`measurements/quality-at-length.${name}`, docs);
writeFileSync(at("json"), readFileSync(source));
const figures = measured<QualityAtLength>("quality-at-length");
writeFileSync(at("md"), qualityPage(figures));
writeFileSync(at("svg"), qualityPicture(figures));
writeFileSync(new URL("gain.svg", docs), readmePicture());

const readme = new URL("../README.md", docs);
const marked = /(<!-- quality-at-length -->\n\n)[^]*?(\n\n<!-- end of quality-at-length -->)/;
const text = readFileSync(readme, "utf8");
if (!marked.test(text)) throw new Error("README.md has no place marked for the table");
writeFileSync(
  readme,
  text.replace(marked, (_, before: string, after: string) => before + headlineTable(figures) + after),
);
console.log("Written. Format with: npx oxfmt README.md docs/measurements/quality-at-length.md");
