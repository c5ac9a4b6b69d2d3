import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

it("the README's example prints what the README says", async () => {
  const core: Record<string, unknown> = await import("../src/index.ts");
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, imports, body] = /```js\nimport \{([^}]*)\} from "@favor\/core";\n([\s\S]*?)```/.exec(readme) ?? [];
  const [, printed] = /```js[\s\S]*?```\s+```\n([\s\S]*?)```/.exec(readme) ?? [];
  const names = imports!.split(",").map((name) => name.trim());
  const lines: string[] = [];
  new Function(...names, "console", body!)(...names.map((name) => core[name]), {
    log: (...values: unknown[]) => lines.push(values.join(" ")),
  });
  expect(`${lines.join("\n")}\n`).toBe(printed);
});
