import { constants, gunzipSync } from "node:zlib";

import { InputError } from "@favor/checkpoints";

/** Bytes of a file that are looked at. */
export const headBytes = 4096;

/** What Favor reads, for messages. */
export const readableFormats = "FASTA, text, JSON Lines, JSON, CSV, TSV or Parquet";

const unpack = (how: string): string => `Unpack it (${how}), or compress it with gzip.`;
const export_ = `Save the texts as CSV or as one text per line, and give that file.`;
const sequences = "Convert it to FASTA with one unaligned sequence per record, and give that file.";

/** A format that is not read: its name, and what to do. */
type Foreign = readonly [name: string, advice: string];

const signatures: readonly (readonly [bytes: string, ...Foreign])[] = [
  ["\xFD7zXZ\0", "an xz-compressed file", unpack("xz -dk")],
  ["BZh", "a bzip2-compressed file", unpack("bzip2 -dk")],
  ["\x28\xB5\x2F\xFD", "a Zstandard-compressed file", unpack("zstd -d")],
  ["\x04\x22\x4D\x18", "an LZ4-compressed file", unpack("lz4 -d")],
  ["7z\xBC\xAF\x27\x1C", "a 7z archive", unpack("7z x")],
  ["Rar!", "a RAR archive", unpack("unrar x")],
  ["\x1F\x9D", "a file compressed with compress (.Z)", unpack("uncompress")],
  ["\x1F\x8B", "a file that is compressed by gzip twice", unpack("gunzip")],
  ["PK\x03\x04", "a ZIP archive or an Office document", "Unpack it, or save it as CSV, and give one file."],
  ["\xD0\xCF\x11\xE0", "an old Office document", export_],
  ["%PDF", "a PDF document", export_],
  ["{\\rtf", "a Rich Text document", export_],
  ["ARROW1", "an Arrow file", "Save it as Parquet: pyarrow.parquet.write_table."],
  ["\xFF\xFF\xFF\xFF", "an Arrow stream", "Save it as Parquet: dataset.to_parquet(...)."],
  ["FEA1", "a Feather file", "Save it as Parquet."],
  ["ORC", "an ORC file", "Save it as Parquet."],
  ["Obj\x01", "an Avro file", "Save it as Parquet."],
  ["SQLite format 3", "an SQLite database", export_],
  ["\x89HDF", "an HDF5 file", export_],
  ["\x93NUMPY", "a NumPy array", "Save the texts: tokens are made by the checkpoint's own tokenizer."],
  ["\x80\x04", "a Python pickle", export_],
  ["\x80\x05", "a Python pickle", export_],
  ["\xFF\xFE", "text in UTF-16", "Save it as UTF-8 (iconv -f UTF-16 -t UTF-8)."],
  ["\xFE\xFF", "text in UTF-16", "Save it as UTF-8 (iconv -f UTF-16 -t UTF-8)."],
  ["version https://git-lfs", "a Git LFS pointer, not the data themselves", "Fetch the file with `git lfs pull`."],
];

const texts: readonly (readonly [pattern: RegExp, ...Foreign])[] = [
  [/^# STOCKHOLM/, "a Stockholm alignment", sequences],
  [/^CLUSTAL/, "a Clustal alignment", sequences],
  [/^(?:!!|PileUp)/, "a GCG alignment (MSF)", sequences],
  [/^#NEXUS/i, "a NEXUS file", sequences],
  [/^>(?:P1|F1|DL|DC|RL|RC|N1|N3|XX);/, "a PIR (NBRF) file", sequences],
  [/^LOCUS {3,}/, "a GenBank file", sequences],
  [/^ID {3}\S/, "a UniProt or EMBL flat file", sequences],
  [/^HEADER {4}/, "a PDB structure", sequences],
  [/^data_\S+\s/, "an mmCIF file", sequences],
  [/^@[^\n]*\r?\n[A-Za-z.*]+\r?\n\+/, "a FASTQ file", "Convert it to FASTA (seqtk seq -A), and give that file."],
  [/^@(?:HD|SQ|RG|PG)\t/, "a SAM file", sequences],
  [/^##fileformat=VCF/, "a VCF file", sequences],
  [/^<\?xml|^<!DOCTYPE|^<html/i, "an XML or HTML document", export_],
];

const extensions: Readonly<Record<string, Foreign>> = {
  xz: ["named .xz, as xz-compressed files are", unpack("xz -dk")],
  bz2: ["named .bz2, as bzip2-compressed files are", unpack("bzip2 -dk")],
  zst: ["named .zst, as Zstandard-compressed files are", unpack("zstd -d")],
  lz4: ["named .lz4, as LZ4-compressed files are", unpack("lz4 -d")],
  br: ["named .br, as Brotli-compressed files are", unpack("brotli -d")],
  lzma: ["named .lzma, as LZMA-compressed files are", unpack("xz -dk --format=lzma")],
  zip: ["named .zip, as archives are", "Unpack it, and give one file."],
  tar: ["named .tar, as archives are", "Unpack it, and give one file."],
  tgz: ["named .tgz, as archives are", "Unpack it, and give one file."],
  pdf: ["named .pdf, as documents are", export_],
  xlsx: ["named .xlsx, as spreadsheets are", export_],
  xls: ["named .xls, as spreadsheets are", export_],
  docx: ["named .docx, as documents are", export_],
  xml: ["named .xml", export_],
  html: ["named .html", export_],
  yaml: ["named .yaml", export_],
  yml: ["named .yml", export_],
  arrow: ["named .arrow", "Save it as Parquet: dataset.to_parquet(...)."],
  feather: ["named .feather", "Save it as Parquet."],
  fastq: ["named .fastq", "Convert it to FASTA (seqtk seq -A), and give that file."],
  fq: ["named .fq", "Convert it to FASTA (seqtk seq -A), and give that file."],
  sto: ["named .sto, as Stockholm alignments are", sequences],
  stk: ["named .stk, as Stockholm alignments are", sequences],
  aln: ["named .aln, as alignments are", sequences],
  msf: ["named .msf, as alignments are", sequences],
  phy: ["named .phy, as PHYLIP alignments are", sequences],
  phylip: ["named .phylip, as alignments are", sequences],
  nex: ["named .nex, as NEXUS files are", sequences],
  a2m: ["named .a2m, as alignments are", sequences],
  a3m: ["named .a3m, as alignments are", sequences],
  gb: ["named .gb, as GenBank files are", sequences],
  gbk: ["named .gbk, as GenBank files are", sequences],
  embl: ["named .embl, as EMBL files are", sequences],
  pdb: ["named .pdb, as structures are", sequences],
  cif: ["named .cif, as structures are", sequences],
};

/** Whether a file is compressed by gzip, by its first bytes. */
export const isGzip = (head: Uint8Array): boolean => head[0] === 0x1f && head[1] === 0x8b;

/**
 * Refuses a file of a format that is not read, instead of taking its lines for texts: by its first bytes, compressed or
 * not, or by its name.
 *
 * @param head - the file's first bytes, {@link headBytes} at most.
 * @throws {InputError} `data-malformed`, naming the format.
 */
export function refuseForeign(path: string, head: Buffer): void {
  const inner = isGzip(head) ? unpacked(head) : head;
  const [name, advice] = bySignature(inner) ?? byText(inner) ?? byExtension(path) ?? [];
  if (name === undefined) return;
  const where = isGzip(head) && !name.startsWith("named") ? " inside a gzip file" : "";
  throw new InputError(
    `${path} is ${name}${where}. Favor reads ${readableFormats}, plain or gzip-compressed. ${advice}`,
    {
      code: "data-malformed",
      details: { path, found: name },
    },
  );
}

function bySignature(head: Buffer): Foreign | undefined {
  const text = head.toString("latin1");
  const found = signatures.find(([bytes]) => text.startsWith(bytes));
  if (found !== undefined) return [found[1], found[2]];
  return text.slice(257, 262) === "ustar" ? ["a tar archive", "Unpack it, and give one file."] : undefined;
}

function byText(head: Buffer): Foreign | undefined {
  const text = head
    .toString("utf8")
    .replace(/^\uFEFF/, "")
    .trimStart();
  const found = texts.find(([pattern]) => pattern.test(text));
  return found && [found[1], found[2]];
}

function byExtension(path: string): Foreign | undefined {
  const [, extension = ""] = /\.([a-z0-9]+)(?:\.gz)?$/i.exec(path) ?? [];
  const key = extension.toLowerCase();
  return Object.hasOwn(extensions, key) ? extensions[key] : undefined;
}

/** The beginning of what a gzip file holds; empty if the stream is damaged, which whoever reads it reports. */
function unpacked(head: Buffer): Buffer {
  try {
    return gunzipSync(head, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, headBytes);
  } catch {
    return Buffer.alloc(0);
  }
}
