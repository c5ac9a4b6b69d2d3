import { brotliDecompressSync, gunzipSync } from "node:zlib";

import { decompress as zstdDecompress } from "fzstd";
import { snappyUncompress } from "hyparquet";
import type { ColumnMetaData, Compressors } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";

/** The largest column chunk that is read, in stored bytes. It is held in memory as a whole. */
export const chunkLimit: number = 2 ** 30;
/** The largest page, in bytes after decompression, and the largest number of values per page. */
const pageLimit = 2 ** 28;
const valueLimit = 2 ** 24;

/** Decompress one page, never to more than its header says, which {@link checkPages} has allowed. */
export const compressors: Compressors = {
  SNAPPY: (input, length) => {
    const output = new Uint8Array(length);
    snappyUncompress(input, output);
    return output;
  },
  GZIP: (input, maxOutputLength) => gunzipSync(input, { maxOutputLength }),
  BROTLI: (input, maxOutputLength) => brotliDecompressSync(input, { maxOutputLength }),
  ZSTD: (input, length) => zstdDecompress(input, new Uint8Array(length)),
};

/**
 * Checks the sizes that the page headers of a column chunk claim before anything is allocated: a header of a few bytes can
 * claim any size.
 *
 * @param chunk - the column chunk's bytes.
 * @throws {Error} naming what is wrong.
 */
export function checkPages(chunk: ArrayBuffer, { codec, num_values: values }: ColumnMetaData): void {
  if (codec !== "UNCOMPRESSED" && compressors[codec] === undefined) {
    const readable = Object.keys(compressors).join(", ");
    throw new Error(`its column is compressed with ${codec}; Favor reads ${readable} and uncompressed columns`);
  }
  const reader = { view: new DataView(chunk), offset: 0 };
  let found = 0;
  while (reader.offset < chunk.byteLength && found < values) {
    const header = parquetHeader(reader);
    const { compressed_page_size: stored, uncompressed_page_size: size } = header;
    const data = header.data_page_header ?? header.data_page_header_v2;
    const count = (data ?? header.dictionary_page_header)?.num_values ?? 0;
    if (!isWithin(stored, chunk.byteLength - reader.offset)) throw new Error("a page reaches beyond its column");
    if (!isWithin(size, pageLimit)) throw new Error(`a page has ${size} bytes; the limit is ${pageLimit}`);
    if (!isWithin(count, Math.min(valueLimit, Number(values)))) throw new Error(`a page claims ${count} values`);
    if (data !== undefined) found += count;
    reader.offset += stored;
  }
  if (found < values) throw new Error(`its pages hold ${found} of ${values} values`);
}

function isWithin(value: unknown, limit: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= limit;
}
