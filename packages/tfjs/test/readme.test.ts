import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { expect, it } from "vitest";
import * as favor from "../src/index.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const modules: Readonly<Record<string, Record<string, unknown>>> = { "@favor/tfjs": favor, "node:fs": fs };
/** Scripts followed by what they print. */
const examples = [...readme.matchAll(/```js\n(import(?:(?!```)[\s\S])*)```\s+```\n([\s\S]*?)```/g)].map(
  ([, code, printed]) => [code!, printed!] as const,
);

it.each(examples)("the README's example %# prints what the README says", async (code, printed) => {
  const names: Record<string, unknown> = { tf };
  const body = code
    .replaceAll(/import \{([^}]*)\} from "([^"]+)";\n/g, (_, imported: string, from: string) => {
      for (const name of imported.split(",").map((each) => each.trim())) names[name] = modules[from]![name];
      return "";
    })
    .replace(/import \* as tf .*\n/, "");
  const lines: string[] = [];
  const run = new Function(...Object.keys(names), "console", `return (async () => {${body}})()`);
  const before = process.cwd();
  const folder = mkdtempSync(join(tmpdir(), "favor-tfjs-readme-"));
  process.chdir(folder);
  try {
    await run(...Object.values(names), { log: (...values: unknown[]) => lines.push(values.join(" ")) });
  } finally {
    process.chdir(before);
    rmSync(folder, { recursive: true });
  }
  expect(`${lines.join("\n")}\n`).toBe(printed);
});

it("the README has three examples with their output", () => {
  expect(examples).toHaveLength(3);
});
