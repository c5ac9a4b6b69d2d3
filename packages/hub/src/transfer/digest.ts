import { sha1 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";

import { hashAlgorithm } from "../remote-file.ts";

/** A running hash, here or in another thread. */
export interface Digest {
  /** Takes bytes, which may change once the call has returned; await it before giving more. */
  update(bytes: Uint8Array): Promise<void> | void;
  /**
   * Takes bytes `start` to `end` of an open file by its descriptor, some time before {@link Digest.current} answers.
   * Absent if only bytes can be given.
   */
  readonly updateFrom?: (descriptor: number, start: number, end: number) => void;
  /** The hash of everything given so far, in lower-case hexadecimal digits; more bytes may follow. */
  current(): Promise<string> | string;
  /** Ends it, without a result. */
  close(): void;
}

/** Starts an empty sha256 or sha1 for about so many bytes. */
export type DigestFactory = (algorithm: "sha256" | "sha1", bytes: number) => Digest;

/** Starts the hash that a file's `etag` must equal: Git's blob hash begins with a header that holds the size. */
export function startDigest(create: DigestFactory, file: { etag: string; size: number }): Digest {
  if (hashAlgorithm(file.etag) === "sha256") return create("sha256", file.size);
  const digest = create("sha1", file.size);
  void digest.update(new TextEncoder().encode(`blob ${file.size}\0`));
  return digest;
}

/** Hashes in plain JavaScript, for browsers: WebCrypto cannot hash a stream. */
export const portableDigest: DigestFactory = (algorithm) => {
  const hash = (algorithm === "sha256" ? sha256 : sha1).create();
  return {
    update: (bytes) => void hash.update(bytes),
    current: () => Array.from(hash.clone().digest(), (byte: number) => byte.toString(16).padStart(2, "0")).join(""),
    close: () => undefined,
  };
};
