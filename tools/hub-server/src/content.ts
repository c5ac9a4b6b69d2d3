import { createHash } from "node:crypto";
import { closeSync, createReadStream, openSync, readFileSync, readSync, statSync } from "node:fs";
import type { Readable } from "node:stream";

/** How the Hub stores a file: in Git itself, or as a pointer to large-file storage. */
export type StorageKind = "git" | "lfs" | "xet";

/** A file's bytes, in memory or on disk, with the hashes that the Hub states. */
export interface Content {
  readonly kind: StorageKind;
  readonly size: number;
  /** Git's object id: of the content, or of the pointer to it. */
  readonly oid: string;
  /** For large files, else absent. */
  readonly sha256?: string;
  readonly bytes?: Uint8Array;
  readonly diskPath?: string;
}

/** Describes bytes held in memory. */
export function memoryContent(bytes: Uint8Array | string, kind: StorageKind = "git"): Content {
  const data = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  return describe(kind, data.length, { bytes: data }, () => createHash("sha256").update(data).digest("hex"), data);
}

/** Describes a file on disk, which is streamed when served. Large ones are `lfs` unless told otherwise. */
export function diskContent(diskPath: string, kind?: StorageKind): Content {
  const { size } = statSync(diskPath);
  const chosen =
    kind ?? (size >= 2 ** 20 || /\.(bin|safetensors|onnx|onnx_data|pt|gz)$/.test(diskPath) ? "lfs" : "git");
  const hash = (): string => {
    const digest = createHash("sha256");
    const file = openSync(diskPath, "r");
    const piece = new Uint8Array(2 ** 22);
    for (let read = readSync(file, piece); read > 0; read = readSync(file, piece))
      digest.update(piece.subarray(0, read));
    closeSync(file);
    return digest.digest("hex");
  };
  return describe(chosen, size, { diskPath }, hash, chosen === "git" ? readFileSync(diskPath) : undefined);
}

function describe(
  kind: StorageKind,
  size: number,
  where: { bytes: Uint8Array } | { diskPath: string },
  sha256: () => string,
  gitBytes: Uint8Array | undefined,
): Content {
  if (kind === "git") return { kind, size, oid: gitObjectId(gitBytes!), ...where };
  const hash = sha256();
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${hash}\nsize ${size}\n`;
  return { kind, size, oid: gitObjectId(new TextEncoder().encode(pointer)), sha256: hash, ...where };
}

/** Git's id of a blob. */
function gitObjectId(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

/** The ETag under which the Hub serves a file. */
export function etagOf(content: Content): string {
  return content.sha256 ?? content.oid;
}

/** Bytes `start` to `end` (exclusive) of a file: as they are in memory, or as a stream from disk. */
export function readRange(content: Content, start: number, end: number): Uint8Array | Readable {
  if (content.bytes !== undefined) return content.bytes.subarray(start, end);
  if (end <= start) return new Uint8Array();
  return createReadStream(content.diskPath!, { start, end: end - 1, highWaterMark: 2 ** 20 });
}

/** Bytes `start` to `end` (exclusive) of a file, wherever it lies, in memory. */
export function readWhole(content: Content, start: number, end: number): Uint8Array {
  if (content.bytes !== undefined) return content.bytes.subarray(start, end);
  const bytes = new Uint8Array(end - start);
  const file = openSync(content.diskPath!, "r");
  try {
    for (let done = 0; done < bytes.length;) {
      const read = readSync(file, bytes, done, bytes.length - done, start + done);
      if (read === 0) throw new Error(`${content.diskPath} became shorter while it was served.`);
      done += read;
    }
  } finally {
    closeSync(file);
  }
  return bytes;
}
