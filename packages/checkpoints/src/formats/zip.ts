import { util } from "protobufjs/minimal.js";
import { readRange, subRange } from "@favor/onnx";
import type { ByteRange } from "@favor/onnx";
import { CheckpointError } from "./errors.ts";

const endLength = 22;
const longestComment = 65_535;
const directoryLimit = 1 << 26;
/** Values of 32-bit and 16-bit fields whose real value is in the ZIP64 record. */
const elsewhere32 = 0xffffffff;
const elsewhere16 = 0xffff;

/** A member, as described by the central directory. */
export interface ZipEntry {
  readonly name: string;
  /** in bytes, uncompressed */
  readonly size: number;
  /** of the local header, in bytes from the start of the file */
  readonly local: number;
  /** Why it cannot be read directly; undefined if it can. */
  readonly obstacle: "compressed" | "encrypted" | undefined;
}

/**
 * The members of a ZIP archive by name, each a range of the file. Only archives like PyTorch's are supported: a single
 * disk, and members without compression or encryption. Checksums are not verified.
 *
 * @throws CheckpointError "malformed", "unsupported-format"
 */
export function zipMembers(
  file: ByteRange,
  archive: string,
  directory: readonly ZipEntry[],
): ReadonlyMap<string, ByteRange> {
  const members = new Map<string, ByteRange>();
  let covered = 0;
  for (const entry of directory.toSorted((a, b) => a.local - b.local)) {
    if (entry.obstacle !== undefined) {
      throw new CheckpointError(
        "unsupported-format",
        `${archive}: member ${JSON.stringify(entry.name)} is ${entry.obstacle}; torch.save stores members uncompressed. ` +
          "Save the checkpoint again with torch.save.",
        { member: entry.name },
      );
    }
    const fail = (what: string): CheckpointError => malformed(archive, `member ${JSON.stringify(entry.name)} ${what}`);
    if (members.has(entry.name)) throw fail("occurs twice");
    if (entry.local < covered) throw fail("overlaps the member before it");
    if (entry.local > file.length - 30) throw fail("lies behind the end of the file");
    const header = new DataView(readRange(file, entry.local, 30).buffer);
    if (header.getUint32(0, true) !== 0x04034b50) throw fail("has no local header");
    const start = entry.local + 30 + header.getUint16(26, true) + header.getUint16(28, true);
    if (start + entry.size > file.length) throw fail("ends behind the end of the file");
    covered = start + entry.size;
    members.set(entry.name, subRange(file, start, entry.size));
  }
  return members;
}

/**
 * Reads the directory of a ZIP archive. Names and sizes come from the central directory (APPNOTE 4.3.12; ZIP64 4.3.14),
 * because local headers of streamed archives lack them.
 *
 * @throws CheckpointError "truncated", "malformed", "limit-exceeded"
 */
export function zipDirectory(file: ByteRange, archive: string): ZipEntry[] {
  const { count, offset, length } = directoryPlace(file, archive);
  if (offset > file.length || length > file.length - offset) {
    throw malformed(archive, "its directory lies behind its end");
  }
  if (length > directoryLimit) {
    throw new CheckpointError(
      "limit-exceeded",
      `${archive}: its directory has ${length} bytes, over ${directoryLimit}.`,
    );
  }
  const bytes = readRange(file, offset, length);
  const view = new DataView(bytes.buffer);
  const entries: ZipEntry[] = [];
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (at + 46 > length || view.getUint32(at, true) !== 0x02014b50) {
      throw malformed(archive, `entry ${index} of its directory is damaged`);
    }
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const next = extraEnd + view.getUint16(at + 32, true);
    if (next > length) throw malformed(archive, `entry ${index} of its directory is damaged`);
    let name: string;
    try {
      name = util.utf8.readStrict(bytes, at + 46, nameEnd);
    } catch (cause) {
      throw malformed(archive, `the name of member ${index} is not UTF-8`, cause);
    }
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    const obstacle = (flags & 1) !== 0 ? "encrypted" : method !== 0 ? "compressed" : undefined;
    const wide = wideFields(view, nameEnd, extraEnd);
    // The ZIP64 record has the real values of these fields, in this order.
    const size = wide(view.getUint32(at + 24, true));
    const stored = wide(view.getUint32(at + 20, true));
    const local = wide(view.getUint32(at + 42, true));
    if (size === undefined || local === undefined || (obstacle === undefined && stored !== size)) {
      throw malformed(archive, `member ${JSON.stringify(name)} has no size or offset`);
    }
    entries.push({ name, size, local, obstacle });
    at = next;
  }
  return entries;
}

/** Reads fields from the ZIP64 record among the extra fields `[start, end)`; undefined for missing ones. */
function wideFields(view: DataView, start: number, end: number): (field: number) => number | undefined {
  let at = start;
  while (at + 4 <= end && view.getUint16(at, true) !== 1) at += 4 + view.getUint16(at + 2, true);
  const recordEnd = at + 4 <= end ? Math.min(end, at + 4 + view.getUint16(at + 2, true)) : 0;
  at += 4;
  return (field) => {
    if (field !== elsewhere32) return field;
    if (at + 8 > recordEnd) return undefined;
    const value = Number(view.getBigUint64(at, true));
    at += 8;
    return Number.isSafeInteger(value) ? value : undefined;
  };
}

function directoryPlace(file: ByteRange, archive: string): { count: number; offset: number; length: number } {
  const tailStart = Math.max(0, file.length - endLength - longestComment);
  const tail = new DataView(readRange(file, tailStart).buffer);
  let at = tail.byteLength - endLength;
  // The end record's comment extends to the end of the file.
  while (
    at >= 0 &&
    !(tail.getUint32(at, true) === 0x06054b50 && at + 22 + tail.getUint16(at + 20, true) === tail.byteLength)
  ) {
    at--;
  }
  if (at < 0)
    throw new CheckpointError("truncated", `${archive} has no ZIP directory: its end is missing. Fetch it again.`);
  const count = tail.getUint16(at + 10, true);
  const length = tail.getUint32(at + 12, true);
  const offset = tail.getUint32(at + 16, true);
  if (count !== elsewhere16 && length !== elsewhere32 && offset !== elsewhere32) return { count, offset, length };
  if (at < 20 || tail.getUint32(at - 20, true) !== 0x07064b50) throw malformed(archive, "its ZIP64 locator is missing");
  const record = Number(tail.getBigUint64(at - 12, true));
  if (record > file.length - 56) throw malformed(archive, "its ZIP64 record lies behind its end");
  const end = new DataView(readRange(file, record, 56).buffer);
  if (end.getUint32(0, true) !== 0x06064b50) throw malformed(archive, "its ZIP64 record is damaged");
  return {
    count: Number(end.getBigUint64(32, true)),
    length: Number(end.getBigUint64(40, true)),
    offset: Number(end.getBigUint64(48, true)),
  };
}

function malformed(archive: string, what: string, cause?: unknown): CheckpointError {
  return new CheckpointError("malformed", `${archive}: ${what}. Fetch or save the checkpoint again.`, {}, cause);
}
