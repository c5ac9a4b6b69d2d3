import { util } from "protobufjs/minimal.js";
import { CheckpointError } from "./errors.ts";
import { otherFormat } from "./other-formats.ts";

/**
 * Parses JSON from untrusted bytes. It must be UTF-8 (a byte order mark may precede it), and no object may repeat a key: `JSON.parse` would keep the last
 * value, but other readers keep the first. `what` names the source in messages.
 *
 * @throws CheckpointError "malformed"
 */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  let text: string;
  let value: unknown;
  try {
    text = util.utf8.readStrict(bytes, hasByteOrderMark(bytes) ? 3 : 0, bytes.length);
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError("malformed", `${what} ${whyNotJson(bytes, cause)}`, {}, cause);
  }
  const repeated = repeatedKey(text);
  if (repeated === undefined) return value;
  throw new CheckpointError(
    "malformed",
    `${what} has the key ${JSON.stringify(repeated)} twice, which readers interpret differently. Save the checkpoint again.`,
    { key: repeated },
  );
}

const hasByteOrderMark = (bytes: Uint8Array): boolean => bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;

/** Says why bytes are not JSON, and what to do, to follow the name of their file. */
export function whyNotJson(bytes: Uint8Array, cause: unknown): string {
  const other = otherFormat(bytes.subarray(0, 512));
  if (other !== undefined) return `is ${other.what}. ${other.advice}`;
  const found = notInJson(util.utf8.read(bytes, 0, bytes.length));
  if (found !== undefined) return found;
  const reason = cause instanceof Error ? ` (${cause.message})` : "";
  return `is not JSON${reason}. It is incomplete or was edited: restore the checkpoint's original file.`;
}

/** Finds what Python and editors write and JSON does not have, outside of strings. One pass, whatever the text. */
function notInJson(text: string): string | undefined {
  const token = /["/,]|-?\b(?:NaN|Infinity)\b/g;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [found] = match;
    const { index } = match;
    if (found === '"') token.lastIndex = endOfString(text, index);
    else if (found === ",") {
      if (!/^,\s{0,1000}[\]}]/.test(text.slice(index, index + 1002))) continue;
      return `has a comma before a closing bracket in ${lineOf(text, index)}, which JSON does not allow. Remove it.`;
    } else if (found === "/") return `has a comment in ${lineOf(text, index)}, which JSON does not allow. Remove it.`;
    else
      return `has ${found} in ${lineOf(text, index)}. Python reads and writes that, but it is not JSON: replace it with a number or null.`;
  }
  return undefined;
}

const lineOf = (text: string, index: number): string => `line ${text.slice(0, index).split("\n").length}`;

/** The place after the string that begins at `start`; the end of the text if it does not end. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}

/** Finds a key that occurs twice in one object of valid JSON. */
function repeatedKey(text: string): string | undefined {
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g;
  const open: Set<string>[] = [];
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [found, colon] = match;
    if (found === "{") open.push(new Set());
    else if (found === "}") open.pop();
    else if (colon !== undefined) {
      // Two spellings of a key ("a" and "\u0061") are one key.
      const key = JSON.parse(found.slice(0, -colon.length)) as string;
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

/** `value` as a JSON object, or undefined if it is not one. */
export function jsonObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : undefined;
}
