import type { FileHandle } from "node:fs/promises";

import { parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import type { AsyncBuffer, ColumnMetaData, FileMetaData, RowGroup, SchemaElement } from "hyparquet";

import { InputError, messageOf, systemCode } from "@favor/checkpoints";
import { chooseColumn } from "./columns.ts";
import { lineLimit, malformed } from "./lines.ts";
import { checkPages, chunkLimit, compressors } from "./parquet-pages.ts";
import { textRecord } from "./record.ts";
import type { DataRecord } from "./record.ts";
import { openRegularFile, unreadable } from "./regular-file.ts";

/** The longest footer that is read, in bytes. */
const footerLimit = 2 ** 25;
/** Rows that are decoded at a time. */
const rowsAtOnce = 65_536;

/**
 * Streams the rows of one column of a Parquet file. The `line` of a record is its row, counted from 1. One row group's
 * bytes of the column and 65,536 decoded rows are in memory at a time. Columns may be uncompressed, or compressed with
 * Snappy, gzip, Brotli or Zstandard.
 *
 * @param column - the column's name. Default: `text`; in files without it, `sequence`.
 * @throws {InputError} `column-unknown`, naming the columns of the file; `data-malformed` for a damaged file, or naming
 * the row that is empty, not UTF-8 or longer than {@link lineLimit}; `file-unreadable`.
 */
export async function* readParquet(path: string, column?: string): AsyncGenerator<DataRecord, void> {
  const { handle, size } = await openRegularFile(path);
  try {
    const file = bufferOf(handle, size);
    const metadata = await intact(path, () => readMetadata(file));
    const name = columnOf(path, metadata, column);
    let start = 0;
    for (const group of metadata.row_groups) {
      const end = start + Number(group.num_rows);
      await intact(path, () => checkGroup(file, group, name));
      for (let from = start; from < end; from += rowsAtOnce) {
        const wanted = { file, metadata, columns: [name], rowStart: from, rowEnd: Math.min(from + rowsAtOnce, end) };
        const parsers = { stringFromBytes };
        const rows = await intact(path, () => parquetReadObjects({ ...wanted, compressors, parsers }));
        for (const [i, row] of rows.entries()) yield recordOf(path, name, from + i + 1, row[name]);
      }
      start = end;
    }
  } finally {
    await handle.close();
  }
}

/** The file as hyparquet reads it. */
function bufferOf(handle: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    async slice(start, end = byteLength) {
      const bytes = new Uint8Array(end - start);
      for (let at = 0; at < bytes.length;) {
        const { bytesRead } = await handle.read(bytes, at, bytes.length - at, start + at);
        if (bytesRead === 0) throw new Error("the file became shorter while being read");
        at += bytesRead;
      }
      return bytes.buffer;
    },
  };
}

async function readMetadata(file: AsyncBuffer): Promise<FileMetaData> {
  // At least PAR1, a footer of one byte, its length and PAR1.
  const end = new DataView(await file.slice(Math.max(0, file.byteLength - 8)));
  if (file.byteLength < 13 || end.getUint32(4, true) !== 0x31524150) throw new Error("its end is missing");
  const length = end.getUint32(0, true);
  if (length > footerLimit) throw new Error(`its footer claims ${length} bytes; the limit is ${footerLimit}`);
  const metadata = await parquetMetadataAsync(file, { geoparquet: false });
  // Impossible row counts would make the loops over the rows endless.
  if (!metadata.row_groups.every(({ num_rows: rows }) => rows >= 0n && rows <= 2n ** 40n)) {
    throw new Error("a row group claims an impossible number of rows");
  }
  return metadata;
}

/** Reads a row group's column once, to check its headers before it is decoded. */
async function checkGroup(file: AsyncBuffer, group: RowGroup, column: string): Promise<void> {
  const chunk = group.columns.find(({ meta_data: data }) => data?.path_in_schema.join("\0") === column);
  if (chunk?.meta_data === undefined || chunk.file_path !== undefined) {
    throw new Error(`a row group lacks the column ${JSON.stringify(column)}`);
  }
  const [start, length] = rangeOf(chunk.meta_data);
  if (length > chunkLimit) throw new Error(`a column chunk has ${length} bytes; the limit is ${chunkLimit}`);
  if (!(start >= 4 && length >= 0 && start + length <= file.byteLength))
    throw new Error("a column reaches beyond the end of the file");
  if (chunk.meta_data.num_values !== group.num_rows) throw new Error("a column and its row group differ in length");
  checkPages(await file.slice(start, start + length), chunk.meta_data);
}

function rangeOf(data: ColumnMetaData): [start: number, length: number] {
  return [Number(data.dictionary_page_offset || data.data_page_offset), Number(data.total_compressed_size)];
}

/** @throws {InputError} `column-unknown`. */
function columnOf(path: string, metadata: FileMetaData, wanted: string | undefined): string {
  const columns = parquetSchema(metadata).children;
  const texts = columns.filter(({ element }) => isText(element)).map(({ element }) => element.name);
  const shown = columns.map(({ element }) => `${element.name}${isText(element) ? "" : " (not text)"}`);
  return chooseColumn(path, texts, wanted, shown);
}

function isText(element: SchemaElement): boolean {
  const { type, repetition_type: repetition, converted_type: converted = "UTF8", logical_type: logical } = element;
  const isString = converted === "UTF8" && (logical === undefined || logical.type === "STRING");
  return type === "BYTE_ARRAY" && repetition !== "REPEATED" && isString;
}

const decoder = new TextDecoder("utf-8", { fatal: true });

function stringFromBytes(bytes: Uint8Array | undefined): string | undefined {
  return bytes && decoder.decode(bytes);
}

function recordOf(path: string, column: string, row: number, text: unknown): DataRecord {
  const where = `the column ${JSON.stringify(column)}`;
  if (typeof text !== "string" || text.trim() === "") throw malformed(path, row, `${where} is empty`);
  if (text.length > lineLimit) throw malformed(path, row, `${where} is longer than ${lineLimit} characters`);
  return textRecord(text, row);
}

/** Runs an action; its errors mean that the file is damaged. */
async function intact<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const code = systemCode(error);
    // The file system's own codes: EIO, EISDIR, ...
    if (code !== undefined && /^E[A-Z]+$/.test(code)) throw unreadable(path, error);
    const what = code === "ERR_ENCODING_INVALID_ENCODED_DATA" ? "a text is not UTF-8" : messageOf(error);
    throw new InputError(
      `${path} is a Parquet file that is damaged or not supported: ${what}. Make or download it again.`,
      { code: "data-malformed", cause: error, details: { path, what } },
    );
  }
}
