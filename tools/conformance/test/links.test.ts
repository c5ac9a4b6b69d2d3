import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], {
  cwd: root,
  encoding: "utf8",
});
const documents = listed.split("\n").filter((path) => path !== "" && existsSync(resolve(root, path)));
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
