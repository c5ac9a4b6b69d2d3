import { createHash } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

import { memoryRange, readRange } from "@favor/onnx";
import { readSafetensors } from "@favor/checkpoints";

import type { NamedTensors } from "../training/stage.ts";

/** Tensors and a text, stored in one file. */
export interface TensorsFile {
  readonly tensors: NamedTensors;
  readonly text: string;
}

/** Writes a file; tests replace it by one that fails. */
export interface FileWriter {
  write(path: string, pieces: Iterable<Uint8Array>): Promise<void>;
}

/** Writes to the disk, and flushes before it returns. */
export const diskWriter: FileWriter = {
  async write(path, pieces) {
    const file = await open(path, "w");
    try {
      for (const piece of pieces) await file.writeFile(piece);
      await file.sync();
    } finally {
      await file.close();
    }
  },
};

/**
 * Writes tensors in the safetensors format (one-dimensional, float32), with the text and a SHA-256 of both as metadata.
 * The file appears under its name only once it is complete and on the disk.
 */
export async function writeTensors(path: string, { tensors, text }: TensorsFile, writer: FileWriter): Promise<void> {
  const temporary = `${path}.tmp`;
  try {
    await writer.write(temporary, piecesOf(tensors, text));
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function* piecesOf(tensors: NamedTensors, text: string): Generator<Uint8Array> {
  const names = [...tensors.keys()];
  const header: Record<string, unknown> = { __metadata__: { text, sha256: digestOf(tensors, text) } };
  let offset = 0;
  for (const name of names) {
    const values = tensors.get(name)!;
    header[name] = { dtype: "F32", shape: [values.length], data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  // Padded with spaces to a multiple of eight, so that readers can map the values.
  const json = Buffer.from(JSON.stringify(header));
  const length = Math.ceil(json.length / 8) * 8;
  const head = Buffer.alloc(8 + length, " ");
  head.writeBigUInt64LE(BigInt(length), 0);
  json.copy(head, 8);
  yield head;
  for (const name of names) yield bytesOf(tensors.get(name)!);
}

/**
 * Reads what {@link writeTensors} wrote.
 *
 * @returns undefined if the file is damaged.
 */
export function parseTensors(bytes: Uint8Array): TensorsFile | undefined {
  try {
    const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
    const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    const { text, sha256 } = (header as { __metadata__: { text: string; sha256: string } }).__metadata__;
    const tensors = new Map<string, Float32Array>();
    for (const [name, { range }] of readSafetensors(memoryRange(bytes))) {
      tensors.set(name, new Float32Array(readRange(range).buffer));
    }
    return digestOf(tensors, text) === sha256 ? { tensors, text } : undefined;
  } catch {
    // Any error means that the file is damaged.
    return undefined;
  }
}

function digestOf(tensors: NamedTensors, text: string): string {
  const hash = createHash("sha256").update(text);
  for (const [name, values] of tensors) hash.update(`\0${name}\0`).update(bytesOf(values));
  return hash.digest("hex");
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Flushes a folder, so that a rename reaches the disk. Windows cannot flush folders. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
