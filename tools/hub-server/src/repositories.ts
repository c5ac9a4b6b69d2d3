import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";

import { diskContent, etagOf, memoryContent, type Content } from "./content.ts";

export type ServedType = "model" | "dataset" | "space";

/** A repository to serve. */
export interface RepositoryInput {
  readonly id: string;
  readonly type?: ServedType;
  /** Files of `main`. Strings and bytes are stored in Git; use `memoryContent` for the other kinds. */
  readonly files: Readonly<Record<string, string | Uint8Array | Content>>;
  /** Further branches, each with its own files. */
  readonly branches?: Readonly<Record<string, RepositoryInput["files"]>>;
  /** Tags, each with its own files. */
  readonly tags?: Readonly<Record<string, RepositoryInput["files"]>>;
  /** Seen only with one of these tokens. */
  readonly private?: readonly string[];
  /** Listed for everybody, downloaded only with one of these tokens. */
  readonly gated?: readonly string[];
}

/** A repository as it is served. */
export interface ServedRepository {
  readonly id: string;
  readonly type: ServedType;
  /** Branch or tag to commit. */
  readonly refs: ReadonlyMap<string, string>;
  /** Those of the refs that are tags. */
  readonly tags: ReadonlySet<string>;
  /** Commit to path to content. */
  readonly commits: ReadonlyMap<string, ReadonlyMap<string, Content>>;
  readonly private: readonly string[] | undefined;
  readonly gated: readonly string[] | undefined;
}

/** Lays out a repository; equal files give equal commits. */
export function layOut(input: RepositoryInput): ServedRepository {
  const refs = new Map<string, string>();
  const commits = new Map<string, ReadonlyMap<string, Content>>();
  for (const [branch, files] of Object.entries({ main: input.files, ...input.branches, ...input.tags })) {
    const tree = new Map(
      Object.entries(files).map(([path, file]) => [
        path,
        typeof file === "string" || file instanceof Uint8Array ? memoryContent(file) : file,
      ]),
    );
    const digest = createHash("sha1").update(input.id);
    for (const [path, content] of tree) digest.update(`\0${path}\0${etagOf(content)}`);
    const commit = digest.digest("hex");
    refs.set(branch, commit);
    commits.set(commit, tree);
  }
  const tags = new Set(Object.keys(input.tags ?? {}));
  return { id: input.id, type: input.type ?? "model", refs, tags, commits, private: input.private, gated: input.gated };
}

/** Reads a folder as the files of a repository. */
export function folderFiles(folder: string): Record<string, Content> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return Object.fromEntries(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(folder, path).split(sep).join("/"), diskContent(path)]),
  );
}

/** The commit of a branch, tag, or (possibly shortened) commit hash. */
export function commitOf(repository: ServedRepository, revision: string): string | undefined {
  const named = repository.refs.get(revision === "HEAD" ? "main" : revision);
  if (named !== undefined) return named;
  if (!/^[0-9a-f]{7,40}$/.test(revision)) return undefined;
  return [...repository.commits.keys()].find((commit) => commit.startsWith(revision));
}
