import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** Markdown files below a folder of the repository ("" or "docs/"), but for what is installed, built or hidden. */
function documentsIn(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}${entry.name}`;
    if (!entry.isDirectory()) return entry.name.endsWith(".md") ? [path] : [];
    const isOurs = entry.name === ".changeset" || !/^(?:\..*|node_modules|dist|coverage)$/.test(entry.name);
    return isOurs && path !== "out" ? documentsIn(`${path}/`) : [];
  });
}

// Not asked of git: it may not be there, and refuses a checkout that another user made.
const documents = documentsIn("");
const withoutCode = (text: string) =>
  text.replaceAll(/^```.*?^```$/gms, "").replaceAll(/`[^`\n]*`/g, (code) => code.replaceAll(/[[\]()]/g, ""));
/** The anchor that GitHub gives a heading. */
const anchor = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replaceAll(/\s/g, "-");
const anchors = (path: string) =>
  [...withoutCode(readFileSync(path, "utf8")).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchor(heading!));

it.each(documents)("the links of %s lead to files of the repository, and to their headings", (document) => {
  const links = [...withoutCode(readFileSync(resolve(root, document), "utf8")).matchAll(/\]\(([^)\s]+)\)/g)];
  const broken = links
    .map(([, target]) => target!)
    .filter((target) => {
      if (/^[a-z]+:/.test(target)) return false;
      const [path, fragment] = target.split("#", 2);
      const file = path === "" ? resolve(root, document) : resolve(root, dirname(document), path!);
      return !existsSync(file) || (fragment !== undefined && !anchors(file).includes(fragment));
    });
  expect(broken).toEqual([]);
});
