import { isEtag, type RemoteFile } from "./remote-file.ts";

/** huggingface_hub's `trees/<commit>.json`. */
interface TreeListing {
  readonly format_version: 1;
  readonly files: Record<
    string,
    { size: number; blob_id: string; lfs_sha256?: string; lfs_size?: number; xet_hash?: string }
  >;
}

/** Writes a commit's complete file list as huggingface_hub does. */
export function formatTree(files: readonly RemoteFile[]): string {
  const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const listing: TreeListing = {
    format_version: 1,
    files: Object.fromEntries(
      sorted.map(({ path, size, oid, etag, xetHash }) => [
        path,
        {
          size,
          blob_id: oid,
          ...(etag === oid ? {} : { lfs_sha256: etag, lfs_size: size }),
          ...(xetHash === undefined ? {} : { xet_hash: xetHash }),
        },
      ]),
    ),
  };
  return JSON.stringify(listing, undefined, 1);
}

/** Reads such a list; `undefined` when it is damaged or of another version, in which case it is fetched again. */
export function parseTree(text: string): readonly RemoteFile[] | undefined {
  let listing: unknown;
  try {
    listing = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { format_version: version, files } = (listing ?? {}) as Record<string, unknown>;
  if (version !== 1 || typeof files !== "object" || files === null) return undefined;
  const entries = Object.entries(files).map(([path, entry]) => remoteFile(path, entry));
  return entries.every((file) => file !== undefined) ? entries : undefined;
}

function remoteFile(path: string, entry: unknown): RemoteFile | undefined {
  const {
    size,
    blob_id: oid,
    lfs_sha256: sha256,
    lfs_size: lfsSize,
    xet_hash: xetHash,
  } = (entry ?? {}) as Record<string, unknown>;
  const etag = sha256 ?? oid;
  const bytes = lfsSize ?? size;
  if (typeof oid !== "string" || typeof etag !== "string" || !isEtag(etag)) return undefined;
  if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 0) return undefined;
  return { path, size: bytes, oid, etag, ...(typeof xetHash === "string" ? { xetHash } : {}) };
}
