import { readFileSync, lstatSync } from "node:fs";
import { dirname } from "node:path";

/** Whether a file system is mounted at an existing path, which then cannot be renamed. Links must be resolved. */
export function isMountPoint(path: string): boolean {
  // A part of a file system that is mounted elsewhere once more (a "bind" mount) has the same device.
  return mountPoints().has(path) || lstatSync(path).dev !== lstatSync(dirname(path)).dev;
}

/** What the kernel lists; nothing on systems other than Linux. */
function mountPoints(): ReadonlySet<string> {
  let lines: string[];
  try {
    lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  } catch {
    return new Set();
  }
  return new Set(lines.map((line) => unescaped(line.split(" ")[4] ?? "")));
}

/** Spaces, tabs, line ends and backslashes are written as octal numbers. */
function unescaped(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
