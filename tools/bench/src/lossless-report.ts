/**
 * Joins what `lossless.js` measured, and writes its tables into `docs/measurements/lossless.md`.
 *
 *   npm run build && npm run lossless-report -w @favor/bench -- [MEASURED.json...]
 *
 * The files' results become `docs/measurements/lossless.json`; without a file, the tables are made of what is there.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { losslessTables, type LosslessFile } from "./lossless-table.ts";

const folder = new URL("../../../docs/measurements/", import.meta.url);
const read = (path: string | URL): LosslessFile => JSON.parse(readFileSync(path, "utf8")) as LosslessFile;

const store = new URL("lossless.json", folder);
const given = process.argv.slice(2).map(read);
if (given.length > 0) {
  const joined = { machine: given[0]!.machine, results: given.flatMap(({ results }) => results) };
  writeFileSync(store, `${JSON.stringify(joined, undefined, 1)}\n`);
}
const page = new URL("lossless.md", folder);
const [before, after] = readFileSync(page, "utf8").split(/<!-- tables -->[\s\S]*<!-- end of tables -->/);
if (after === undefined) throw new Error("docs/measurements/lossless.md has no place for the tables");
const tables = losslessTables(read(store));
writeFileSync(page, `${before}<!-- tables -->\n\n${tables}\n\n<!-- end of tables -->${after}`);
