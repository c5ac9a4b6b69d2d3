/**
 * One file of a repository at a commit, as its tree lists it. `etag` is the name of its blob in the cache and its
 * content hash at once: sha256 for files in LFS or Xet, Git's blob sha1 otherwise.
 */
export interface RemoteFile {
  /** Path in the repository, `/`-separated. */
  readonly path: string;
  /** Bytes of the content (not of an LFS pointer). */
  readonly size: number;
  readonly etag: string;
  /** Git's object id; for LFS and Xet files that of the pointer. */
  readonly oid: string;
  readonly xetHash?: string;
}

/** How a file's content is hashed into its `etag`. */
export type HashAlgorithm = "sha256" | "git-sha1";

/** The algorithm that made an `etag`: 64 hexadecimal digits are sha256, 40 are Git's. */
export function hashAlgorithm(etag: string): HashAlgorithm {
  return etag.length === 64 ? "sha256" : "git-sha1";
}

/** Whether a text can be a content hash, hence a blob's name: 40 or 64 lower-case hexadecimal digits. */
export function isEtag(text: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}
