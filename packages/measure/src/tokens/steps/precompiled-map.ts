import { UnsupportedStep } from "./step-error.ts";

const segmenter = new Intl.Segmenter("und", { granularity: "grapheme" });
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Graphemes of more bytes are replaced character by character. */
const longestGrapheme = 5;

/**
 * Reads a character map of SentencePiece: the size of a double array (uint32, little-endian), the double array (a trie of
 * UTF-8 bytes whose values are offsets), and replacements that each end with a zero byte.
 *
 * @param charsmap - in base64.
 * @returns what the `Precompiled` normaliser does to a text. It replaces a grapheme, or else a character, by what the map
 * has for its shortest prefix.
 * @throws {UnsupportedStep} if the map is damaged.
 */
export function precompiledMap(charsmap: string): (text: string) => string {
  const bytes = Buffer.from(charsmap, "base64");
  const size = bytes.length >= 4 ? bytes.readUInt32LE(0) : -1;
  if (size < 4 || size % 4 !== 0 || 4 + size > bytes.length) {
    throw new UnsupportedStep("a precompiled character map that is damaged");
  }
  const units = new Uint32Array(bytes.buffer.slice(bytes.byteOffset + 4, bytes.byteOffset + 4 + size));
  const replacements = bytes.subarray(4 + size);
  const known = new Map<string, string | undefined>();
  const replacementOf = (part: string): string | undefined => {
    if (known.has(part)) return known.get(part);
    const at = firstValue(units, encoder.encode(part));
    const found = at === undefined ? undefined : textAt(replacements, at);
    known.set(part, found);
    return found;
  };
  return (text) => {
    let result = "";
    for (const { segment } of segmenter.segment(text)) {
      const whole = Buffer.byteLength(segment) <= longestGrapheme ? replacementOf(segment) : undefined;
      if (whole !== undefined) result += whole;
      else for (const character of segment) result += replacementOf(character) ?? character;
    }
    return result;
  };
}

/** The value of the shortest key that `bytes` begin with. */
function firstValue(units: Uint32Array, bytes: Uint8Array): number | undefined {
  let node = offsetOf(units[0]!);
  for (const byte of bytes) {
    if (byte === 0) return undefined;
    node ^= byte;
    const unit = units[node];
    if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined;
    node ^= offsetOf(unit);
    if ((unit >>> 8) & 1) return (units[node] ?? 0) & 0x7fffffff;
  }
  return undefined;
}

function offsetOf(unit: number): number {
  return ((unit >>> 10) << ((unit & (1 << 9)) >>> 6)) >>> 0;
}

function textAt(replacements: Uint8Array, start: number): string {
  const end = replacements.indexOf(0, start);
  try {
    return decoder.decode(replacements.subarray(start, end < 0 ? undefined : end));
  } catch {
    throw new UnsupportedStep("a precompiled character map that is damaged");
  }
}
