// Do two commits write the same models, byte for byte?
//
//   npm run compare-commits -w @favor/conformance -- <before> <after> [--antiberty FOLDER --fasta FILE]
//
// Checks both commits out into a temporary folder, installs and builds them, and converts by each every convertible
// model of the zoo (its core in the repository, and the whole zoo in ../shared where that lies next to the repository)
// with exact attention and with positive features.
//
// --antiberty FOLDER  converts this checkpoint too, by each commit's favor-convert: exact, positive, landmark calibrated
// --fasta FILE        what the landmarks are fitted to
// --core              leaves ../shared out
//
// Prints how many files agree, every difference, and what neither converts. Exit code 1: there are some, or nothing was compared.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { antiberty: { type: "string" }, fasta: { type: "string" }, core: { type: "boolean", default: false } },
});
if (positionals.length !== 2 || (values.antiberty === undefined) !== (values.fasta === undefined)) {
  console.error("Usage: compare-commits <before> <after> [--core] [--antiberty FOLDER --fasta FILE]");
  process.exit(2);
}

const here = fileURLToPath(new URL(".", import.meta.url));
const repository = fileURLToPath(new URL("../..", import.meta.url));
// npm runs the script in its package; paths are meant as seen from where npm was started.
const from = process.env.INIT_CWD ?? process.cwd();
const given = (path) => join(path.startsWith("/") ? "/" : from, path);
const zoos = [join(here, "zoo"), ...(values.core ? [] : [join(repository, "../shared/zoo")])].filter((folder) =>
  existsSync(join(folder, "manifest.json")),
);
const calibration = values.fasta && ["--calibrate", given(values.fasta), "--calibrate-count", "50"];
const antiberty = {
  exact: ["--features", "exact"],
  positive: ["--features", "positive", "--count", "128"],
  "landmark, calibrated": ["--features", "landmark", "--count", "64", ...(calibration ?? [])],
};

const scratch = mkdtempSync(join(tmpdir(), "favor-commits-"));
const checkouts = [];
process.on("exit", () => {
  for (const checkout of checkouts) git("worktree", "remove", "--force", checkout);
  rmSync(scratch, { recursive: true, force: true });
});

const written = [];
for (const commit of positionals) written.push(await writtenBy(commit));
process.exitCode = report(...written) ? 0 : 1;

/** What a commit writes: by model, features and file, its sha256; or what went wrong. */
async function writtenBy(commit) {
  const checkout = checkOut(commit);
  const found = new Map();
  const lines = run(process.execPath, [join(here, "convert-zoo.js"), checkout, join(scratch, "zoo"), ...zoos], {});
  for (const line of lines.trim().split("\n")) {
    const { name, features, error, replaced, files } = JSON.parse(line);
    const key = `${relative(repository, name)}, ${features}`;
    if (error !== undefined) found.set(key, `error: ${error}`);
    for (const [file, sha256] of Object.entries(files ?? {}))
      found.set(`${key}: ${file}`, `${sha256}, ${replaced} sites`);
  }
  if (values.antiberty === undefined) return found;
  for (const [name, options] of Object.entries(antiberty)) {
    const folder = join(scratch, "antiberty");
    const program = join(checkout, "tools/favor-convert/bin/favor-convert.js");
    console.error(`${commit}: AntiBERTy, ${name}`);
    run(process.execPath, [program, given(values.antiberty), "-o", folder, "--quiet", "--seed", "1", ...options], {});
    for (const file of readdirSync(join(folder, "onnx")).toSorted()) {
      found.set(`AntiBERTy, ${name}: ${file}`, await digest(join(folder, "onnx", file)));
    }
    rmSync(folder, { recursive: true });
  }
  return found;
}

/** The folder of a commit, installed and built. */
function checkOut(commit) {
  const checkout = join(scratch, `commit-${checkouts.length}`);
  git("worktree", "add", "--detach", checkout, commit);
  checkouts.push(checkout);
  console.error(`${commit}: npm ci and build`);
  run("npm", ["ci", "--silent"], { cwd: checkout });
  run("npm", ["run", "--silent", "build", "--", "--concurrency=1", "--output-logs=errors-only"], { cwd: checkout });
  console.error(`${commit}: converting`);
  return checkout;
}

/** Prints what differs; whether something was compared and all of it agrees. */
function report(before, after) {
  const names = [...new Set([...before.keys(), ...after.keys()])];
  const differing = names.filter((name) => before.get(name) !== after.get(name));
  const failed = names.filter((name) => before.get(name) === after.get(name) && before.get(name).startsWith("error: "));
  console.log(`${names.length - differing.length - failed.length} files are the same, ${differing.length} differ`);
  for (const name of differing) {
    console.log(`${name}\n  before: ${before.get(name) ?? "nothing"}\n  after:  ${after.get(name) ?? "nothing"}`);
  }
  for (const name of failed) console.log(`${name} is converted by neither: ${before.get(name)}`);
  return names.length > failed.length && differing.length === 0;
}

function git(...args) {
  return run("git", ["-C", repository, ...args], {});
}

function run(program, args, options) {
  const { status, signal, stdout, stderr, error } = spawnSync(program, args, {
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    ...options,
  });
  if (status === 0) return stdout;
  throw new Error(`${program} ${args.join(" ")}: ${error ?? signal ?? status}\n${stdout ?? ""}${stderr ?? ""}`);
}

async function digest(path) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
