import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs";
import { expect, it } from "vitest";
import * as favor from "../src/index.ts";

it("the README's example prints what the README says", async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, imports, body] =
    /```js\nimport \{([^}]*)\} from "@favor\/tfjs";\nimport \* as tf .*\n([\s\S]*?)```/.exec(readme) ?? [];
  const [, printed] = /```js[\s\S]*?```\s+```\n([\s\S]*?)```/.exec(readme) ?? [];
  const exported: Record<string, unknown> = favor;
  const names = imports!.split(",").map((name) => name.trim());
  const lines: string[] = [];
  const run = new Function(...names, "tf", "console", `return (async () => {${body!}})()`);
  await run(...names.map((name) => exported[name]), tf, {
    log: (...values: unknown[]) => lines.push(values.join(" ")),
  });
  expect(`${lines.join("\n")}\n`).toBe(printed);
});
