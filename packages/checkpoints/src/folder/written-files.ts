import { createHash } from "node:crypto";
import { lstatSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { hashFile } from "@favor/onnx/node";
import { z } from "zod";

import { companions } from "../source/companions.ts";
import { readJson } from "../source/config.ts";

/** Describes the folder it is in, which Favor wrote. */
export const favorFile = "favor.json";

/** Holds how fast a model was: never the same twice, so `favor.json` does not list it, and its name alone counts. */
export const speedFile = "favor-speed.json";

/** A file that Favor wrote into a folder. */
export interface WrittenFile {
  /** Path inside the folder, with `/`. */
  readonly file: string;
  /** In hexadecimal. */
  readonly sha256: string;
  readonly bytes: number;
}

const favorFileLimit = 64 * 1024 * 1024;
const text = z.string();
/** What of `favor.json` says which files are Favor's. */
const contents = z.object({
  model: z.object({ file: text, sha256: text }).optional().catch(undefined),
  files: z
    .array(z.object({ file: text, sha256: text, bytes: z.number() }))
    .optional()
    .catch(undefined),
});

/**
 * The files in a folder that Favor wrote, and that nobody changed since: those that `favor.json` lists with the same
 * SHA-256. If it lists none (an older one), the model it names, and the other files that Favor writes, by their names.
 */
export async function ownFiles(folder: string): Promise<ReadonlySet<string>> {
  const written = await writtenInto(folder);
  const own = new Set<string>();
  for (const name of filesIn(folder, (way) => hasBelow(written.keys(), way))) {
    const expected = written.get(name);
    if (expected === undefined) continue;
    if (expected.sha256 === undefined || (await isUnchanged(join(folder, name), expected))) own.add(name);
  }
  return own;
}

/** What is known of a file that Favor wrote; nothing: its name alone counts. */
interface Expected {
  readonly sha256?: string;
  readonly bytes?: number;
}

async function writtenInto(folder: string): Promise<ReadonlyMap<string, Expected>> {
  const found = await readJson(join(folder, favorFile), contents, favorFileLimit).catch(() => undefined);
  // It cannot hold its own hash.
  const written = new Map<string, Expected>([
    [favorFile, {}],
    [speedFile, {}],
  ]);
  if (found?.files !== undefined) {
    for (const { file, sha256, bytes } of found.files) written.set(file, { sha256, bytes });
  } else if (found?.model !== undefined) {
    const { file, sha256 } = found.model;
    for (const name of [...companions, "report.html", "README.md", "log.jsonl", `${file}_data`]) written.set(name, {});
    written.set(file, { sha256 });
  }
  return written;
}

/** Where a page tells of the machine, the date and the time that something took there. */
const measuredPart = /<!-- measured -->.*?<!-- \/measured -->/gs;

/**
 * The part of a page that the same command always writes the same. Only this part is recorded, so that `favor.json` does not
 * depend on the machine and the hour.
 */
export function lastingPart(name: string, page: string): string {
  return name.endsWith(".html") ? page.replaceAll(measuredPart, "") : page;
}

async function isUnchanged(path: string, { sha256, bytes }: Expected): Promise<boolean> {
  if (path.endsWith(".html")) {
    const lasting = lastingPart(path, await readFile(path, "utf8"));
    return createHash("sha256").update(lasting).digest("hex") === sha256;
  }
  if (bytes !== undefined && lstatSync(path).size !== bytes) return false;
  return (await hashFile(path)) === sha256;
}

/**
 * Everything in a folder besides the files of Favor, as paths inside it: files, links and whole folders. A folder that
 * holds files of Favor, or that will, is looked into.
 *
 * @param own - files to leave out.
 * @param planned - files that will be written to the same paths of another folder.
 */
export function foreignIn(folder: string, own: ReadonlySet<string>, planned: ReadonlySet<string>): string[] {
  const isWay = (name: string): boolean => hasBelow(own, name) || hasBelow(planned, name);
  return entriesIn(folder, isWay)
    .filter((name) => !own.has(name))
    .toSorted();
}

/** Whether a foreign file, link or folder stands where one of these files, or a folder above it, will be. */
export function isInTheWay(name: string, planned: ReadonlySet<string>): boolean {
  return planned.has(name) || hasBelow(planned, name);
}

/** The paths of all regular files in a folder and its subfolders, or in some of these. Links are not followed. */
export function filesIn(folder: string, isWay: (name: string) => boolean = () => true): string[] {
  return entriesIn(folder, isWay).filter((name) => lstatSync(join(folder, name)).isFile());
}

function entriesIn(folder: string, isWay: (name: string) => boolean, under = ""): string[] {
  return readdirSync(join(folder, under), { withFileTypes: true }).flatMap((entry) => {
    const name = `${under}${entry.name}`;
    return entry.isDirectory() && isWay(name) ? entriesIn(folder, isWay, `${name}/`) : [name];
  });
}

function hasBelow(names: Iterable<string>, folder: string): boolean {
  for (const name of names) if (name.startsWith(`${folder}/`)) return true;
  return false;
}
