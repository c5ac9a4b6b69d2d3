// The files that moved between two commits, old path to new, as a Markdown table.
//
//   npm run moves --silent -w @favor/conformance -- <before> <after> [--similarity 50]
//
// --similarity N  in per cent: how much of a file must stay for git to call it moved; default 50
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { similarity: { type: "string", default: "50" } },
});
const similarity = Number(values.similarity);
if (positionals.length !== 2 || !(similarity > 0 && similarity <= 100)) {
  console.error("Usage: moves <before> <after> [--similarity 50]");
  process.exit(2);
}

const repository = fileURLToPath(new URL("../..", import.meta.url));
// -l 0: git gives up on renames where there are many files, unless it is told not to.
const options = ["--name-status", "-z", `--find-renames=${similarity}%`, "-l0", "--diff-filter=R"];
const { status, stdout, stderr } = spawnSync("git", ["-C", repository, "diff", ...options, ...positionals], {
  encoding: "utf8",
  maxBuffer: 2 ** 28,
});
if (status !== 0) {
  console.error(stderr);
  process.exit(1);
}

const fields = stdout.split("\0");
const moves = [];
for (let at = 0; at + 2 < fields.length; at += 3) moves.push({ old: fields[at + 1], new: fields[at + 2] });
console.log(`| old path | new path |\n| --- | --- |`);
for (const move of moves.toSorted((a, b) => (a.old < b.old ? -1 : 1))) console.log(`| ${move.old} | ${move.new} |`);
