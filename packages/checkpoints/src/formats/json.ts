import { util } from "protobufjs/minimal.js";
import { CheckpointError } from "./errors.ts";

/**
 * Parses JSON from untrusted bytes. It must be UTF-8, and no object may repeat a key: `JSON.parse` would keep the last
 * value, but other readers keep the first. `what` names the source in messages.
 *
 * @throws CheckpointError "malformed"
 */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  let text: string;
  let value: unknown;
  try {
    text = util.utf8.readStrict(bytes, 0, bytes.length);
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError("malformed", `${what} is not JSON. Fetch the checkpoint again.`, {}, cause);
  }
  const repeated = repeatedKey(text);
  if (repeated === undefined) return value;
  throw new CheckpointError(
    "malformed",
    `${what} has the key ${JSON.stringify(repeated)} twice, which readers interpret differently. Save the checkpoint again.`,
    { key: repeated },
  );
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
