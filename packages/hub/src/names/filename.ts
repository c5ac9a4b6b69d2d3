import { HubNameError } from "../errors.ts";

const windowsReserved = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)/i;
const windowsForbidden = /[<>:"|?*\\]/;
const encoder = new TextEncoder();

/**
 * Checks a file name of a repository (a `/`-separated path) under the rules of both POSIX and Windows, on every
 * system: what is downloaded on Linux may be copied to Windows. Refused: absolute paths, drives and UNC names (on
 * Windows opening one sends the user's credentials to the host named in it), `.` and `..` segments, backslashes,
 * control characters and NUL, `<>:"|?*`, device names (`NUL`, `com1.txt`), a dot or space at the end of a segment,
 * segments over 255 bytes, paths over 1024 bytes.
 *
 * @param what how the message calls the name, `File name` by default
 * @throws HubNameError
 */
export function validateFilename(filename: string, what = "File name"): string {
  const reason = refusal(filename);
  if (reason !== undefined) {
    throw new HubNameError(
      `${what} ${JSON.stringify(filename)} is refused: ${reason}. It is unsafe on Windows or elsewhere; ` +
        `ask the repository's owner to rename it, or leave it out with an ignore pattern.`,
      { filename, reason },
    );
  }
  return filename;
}

function refusal(filename: string): string | undefined {
  if (filename === "") return "it is empty";
  if (encoder.encode(filename).length > 1024) return "it is longer than 1024 bytes";
  if (/^[A-Za-z]:/.test(filename)) return "it names a drive";
  if (filename.startsWith("/") || filename.startsWith("\\")) return "it is an absolute path";
  for (const segment of filename.split("/")) {
    if (segment === "") return "it has an empty segment";
    if (segment === "." || segment === "..") return `it has a "${segment}" segment`;
    if (windowsForbidden.test(segment) || hasControlCharacter(segment))
      return 'a segment has a control character or one of \\ < > : " | ? *';
    if (windowsReserved.test(segment)) return `"${segment}" is a device name on Windows`;
    if (/[. ]$/.test(segment)) return `"${segment}" ends with a dot or a space`;
    if (encoder.encode(segment).length > 255) return "a segment is longer than 255 bytes";
  }
  return undefined;
}

/** Whether a text holds NUL, another C0 control character or DEL. */
export function hasControlCharacter(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}

/**
 * The first pair of paths that are one and the same file where names ignore case or Unicode form (Windows, macOS),
 * folders included: `Data/a` and `data/b` collide too. `undefined` if there is none.
 */
export function caseCollision(filenames: Iterable<string>): readonly [string, string] | undefined {
  const seen = new Map<string, string>();
  for (const filename of filenames) {
    const segments = filename.split("/");
    for (let length = 1; length <= segments.length; length++) {
      const path = segments.slice(0, length).join("/");
      const folded = path.normalize("NFC").toLowerCase();
      const other = seen.get(folded);
      if (other !== undefined && other !== path) return [other, path];
      seen.set(folded, path);
    }
  }
  return undefined;
}
