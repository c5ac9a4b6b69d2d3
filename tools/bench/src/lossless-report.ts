/**
 * Joins what `lossless.js` and `lossless-browser.js` measured, and writes its tables into `docs/measurements/lossless.md`.
 *
 *   npm run build && npm run lossless-report -w @favor/bench -- [MEASURED.json...]
 *
 * A file's results replace those of the same models and lengths in `docs/measurements/lossless.json`, or are added to
 * them; without a file, the tables are made of what is there.
 */
import { readFileSync, writeFileSync } from "node:fs";
import {
  browserTables,
  losslessTables,
  type BrowserFile,
  type BrowserResult,
  type LosslessFile,
  type LosslessResult,
} from "./lossless-table.ts";

const folder = new URL("../../../docs/measurements/", import.meta.url);
const read = <T>(path: string | URL): T => JSON.parse(readFileSync(path, "utf8")) as T;

/** The first list with what is measured anew in its place, and the rest of the second behind it; each model's together. */
function joined<T extends { readonly title: string }>(
  old: readonly T[],
  fresh: readonly T[],
  isSame: (a: T, b: T) => boolean,
): T[] {
  const replaced = old.map((one) => fresh.find((other) => isSame(one, other)) ?? one);
  const all = [...replaced, ...fresh.filter((one) => !replaced.includes(one))];
  const titles = [...new Set(all.map(({ title }) => title))];
  return titles.flatMap((title) => all.filter((one) => one.title === title));
}

const isSameLength = (a: LosslessResult, b: LosslessResult): boolean => a.title === b.title && a.length === b.length;
const isSameForm = (a: BrowserResult, b: BrowserResult): boolean => a.title === b.title && a.variant === b.variant;

const store = new URL("lossless.json", folder);
let measured = read<LosslessFile>(store);
for (const file of process.argv.slice(2).map((path) => read<LosslessFile | BrowserFile>(path))) {
  if ("browser" in file.machine) {
    const { machine, results } = file as BrowserFile;
    const old = measured.browser?.results ?? [];
    const fresh = results.map((result): BrowserResult => {
      const passes = old.find((one) => isSameForm(one, result))?.passes ?? [];
      const kept = passes.filter(({ length }) => !result.passes.some((pass) => pass.length === length));
      return { ...result, passes: [...kept, ...result.passes].toSorted((a, b) => a.length - b.length) };
    });
    measured = { ...measured, browser: { machine, results: joined(old, fresh, isSameForm) } };
  } else {
    const { machine, results } = file as LosslessFile;
    const isElsewhere = JSON.stringify(machine) !== JSON.stringify(measured.machine);
    const fresh = isElsewhere ? results.map((result) => ({ ...result, machine })) : results;
    const all = joined(measured.results, fresh, isSameLength);
    const sorted = all.toSorted((a, b) => (a.title === b.title ? a.length - b.length : 0));
    measured = { ...measured, results: sorted };
  }
}
writeFileSync(store, `${JSON.stringify(measured, undefined, 1)}\n`);

const page = new URL("lossless.md", folder);
let text = readFileSync(page, "utf8");
const tables = {
  tables: losslessTables(measured),
  "browser tables": measured.browser && browserTables(measured.browser),
};
for (const [name, made] of Object.entries(tables)) {
  const [before, after] = text.split(new RegExp(`<!-- ${name} -->[\\s\\S]*<!-- end of ${name} -->`));
  if (after === undefined) throw new Error(`docs/measurements/lossless.md has no place for the ${name}`);
  text = `${before}<!-- ${name} -->\n\n${made ?? "Not measured."}\n\n<!-- end of ${name} -->${after}`;
}
writeFileSync(page, text);
