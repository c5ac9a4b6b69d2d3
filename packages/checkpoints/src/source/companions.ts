import { realpath, stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";

/** The files that are copied along with a model, if present. No others are, even if a configuration names them. */
export const companions: readonly string[] = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.txt",
  "vocab.json",
  "merges.txt",
  "spiece.model",
  "sentencepiece.bpe.model",
  "tokenizer.model",
  "preprocessor_config.json",
  "modules.json",
  "sentence_bert_config.json",
  "config_sentence_transformers.json",
  "1_Pooling/config.json",
  "LICENSE",
  "LICENSE.txt",
  "LICENSE.md",
  "NOTICE",
];

/** A companion of a checkpoint, ready to be copied. */
export interface Companion {
  /** Relative to the checkpoint's folder, with forward slashes: one of {@link companions}. */
  readonly name: string;
  /** The file itself, absolute, with every link resolved. */
  readonly path: string;
}

/** The companions that a folder has. */
export interface FoundCompanions {
  readonly own: readonly Companion[];
  /** Names of links that lead out of the checkpoint: they are not ours to copy. */
  readonly elsewhere: readonly string[];
}

/**
 * The companions in a checkpoint's folder. A link counts if it stays inside the folder, or, in a snapshot of the Hub's
 * cache, if it leads to the blobs of that repository. A checkpoint from anywhere could otherwise have a LICENSE that is a
 * link to a private key of whoever converts it.
 */
export async function findCompanions(folder: string): Promise<FoundCompanions> {
  const own: Companion[] = [];
  const elsewhere: string[] = [];
  const root = await realpath(folder).catch(() => folder);
  const roots = [root, ...blobsOf(root)];
  for (const name of companions) {
    const path = await realpath(join(folder, name)).catch(() => undefined);
    const found = path === undefined ? undefined : await stat(path).catch(() => undefined);
    if (path === undefined || found?.isFile() !== true) continue;
    if (roots.some((each) => path.startsWith(each + sep))) own.push({ name, path });
    else elsewhere.push(name);
  }
  return { own, elsewhere };
}

/** The names of a folder's companions. */
export async function companionsIn(folder: string): Promise<string[]> {
  return (await findCompanions(folder)).own.map(({ name }) => name);
}

/** The folder of contents that the snapshot `folder` (or the one that it lies in) links to. */
function blobsOf(folder: string): string[] {
  for (let at = folder; dirname(at) !== at; at = dirname(at)) {
    const parent = dirname(at);
    const isSnapshot = /^[0-9a-f]{40}$/.test(basename(at)) && basename(parent) === "snapshots";
    if (isSnapshot) return [join(dirname(parent), "blobs")];
  }
  return [];
}
