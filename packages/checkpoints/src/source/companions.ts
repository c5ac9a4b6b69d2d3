import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";

import { readModulePaths } from "./modules-file.ts";

/** The files that are copied along with a model, if present, besides the folders that `modules.json` names. */
export const companions: readonly string[] = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "vocab.txt",
  "vocab.json",
  "merges.txt",
  "bpe.codes",
  "dict.txt",
  "spiece.model",
  "spm.model",
  "sentencepiece.model",
  "sentencepiece.bpe.model",
  "tokenizer.model",
  "preprocessor_config.json",
  "processor_config.json",
  "modules.json",
  // sentence-transformers looks for each of these names.
  "sentence_bert_config.json",
  "sentence_roberta_config.json",
  "sentence_distilbert_config.json",
  "sentence_camembert_config.json",
  "sentence_albert_config.json",
  "sentence_xlm-roberta_config.json",
  "sentence_xlnet_config.json",
  "config_sentence_transformers.json",
  "1_Pooling/config.json",
  "LICENSE",
  "LICENSE.txt",
  "LICENSE.md",
  "NOTICE",
];

/** The most files that modules may have: an ordinary one has two. */
const maximumModuleFiles = 1000;

/** A companion of a checkpoint, ready to be copied. */
export interface Companion {
  /** Relative to the checkpoint's folder, with forward slashes. */
  readonly name: string;
  /** The file itself, absolute, with every link resolved. */
  readonly path: string;
}

/** The companions that a folder has. */
export interface FoundCompanions {
  readonly own: readonly Companion[];
  /** Names of links that lead out of the checkpoint: they are not ours to copy. */
  readonly elsewhere: readonly string[];
  /** Paths that `modules.json` names and that are not copied, each with the reason. */
  readonly refused: readonly string[];
}

/**
 * The companions in a checkpoint's folder: {@link companions}, and every file below the folders that its `modules.json`
 * names (the further modules of sentence-transformers). A link counts if it stays inside the folder, or, in a snapshot of
 * the Hub's cache, if it leads to the blobs of that cache. A checkpoint from anywhere could otherwise have a LICENSE that
 * is a link to a private key of whoever converts it.
 */
export async function findCompanions(folder: string): Promise<FoundCompanions> {
  const own: Companion[] = [];
  const elsewhere: string[] = [];
  const root = await realpath(folder).catch(() => folder);
  const roots = [root, ...blobsOf(root)];
  const isInside = (path: string): boolean => roots.some((each) => path.startsWith(each + sep));
  const modules = await readModulePaths(folder, isInside);
  const named = new Set(companions);
  for (const module of modules.paths) {
    // Many checkpoints lack the folder of a module without settings, such as 2_Normalize.
    for (const name of await filesBelow(folder, module)) named.add(name);
  }
  if (named.size > companions.length + maximumModuleFiles) {
    return { own: [], elsewhere: [], refused: [`folders of more than ${maximumModuleFiles} files`] };
  }
  for (const name of named) {
    const path = await realpath(join(folder, name)).catch(() => undefined);
    const found = path === undefined ? undefined : await stat(path).catch(() => undefined);
    if (path === undefined || found?.isFile() !== true) continue;
    if (isInside(path)) own.push({ name, path });
    else elsewhere.push(name);
  }
  return { own, elsewhere, refused: modules.refused };
}

/** The names of a folder's companions. */
export async function companionsIn(folder: string): Promise<string[]> {
  return (await findCompanions(folder)).own.map(({ name }) => name);
}

/** Files and links below a folder of the checkpoint, sorted; folders that are links are listed as links. */
async function filesBelow(folder: string, under: string): Promise<string[]> {
  const found = await lstat(join(folder, under)).catch(() => undefined);
  if (found === undefined) return [];
  if (!found.isDirectory()) return [under];
  const names: string[] = [];
  for (const name of (await readdir(join(folder, under))).toSorted()) {
    if (names.length > maximumModuleFiles) break;
    names.push(...(await filesBelow(folder, `${under}/${name}`)));
  }
  return names;
}

/**
 * The folders of contents that the snapshot `folder` (or the one that it lies in) links to: the repository's own, and the
 * one that all repositories of a cache share.
 */
function blobsOf(folder: string): string[] {
  for (let at = folder; dirname(at) !== at; at = dirname(at)) {
    const parent = dirname(at);
    const isSnapshot = /^[0-9a-f]{40}$/.test(basename(at)) && basename(parent) === "snapshots";
    if (!isSnapshot) continue;
    const repository = dirname(parent);
    const isCached = basename(repository).startsWith("models--");
    return [join(repository, "blobs"), ...(isCached ? [join(dirname(repository), "blobs")] : [])];
  }
  return [];
}
