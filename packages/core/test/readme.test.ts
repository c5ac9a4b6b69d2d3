import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const example = /```js\nimport \{([^}]*)\} from "@favor\/core";\n([\s\S]*?)```\s+```\n([\s\S]*?)```/g;
const examples = [...readme.matchAll(example)].map(([, names, body, printed]) => ({
  names: names!.split(",").map((name) => name.trim()),
  body: body!,
  printed: printed!,
}));
const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor as FunctionConstructor;

describe("the README's examples print what the README says", () => {
  it("there are two", () => {
    expect(examples.length).toBe(2);
  });

  it.each(examples)("$names", async ({ names, body, printed }) => {
    const core: Record<string, unknown> = await import("../src/index.ts");
    const lines: string[] = [];
    await new AsyncFunction(...names, "console", body)(...names.map((name) => core[name]), {
      log: (...values: unknown[]) => lines.push(values.join(" ")),
    });
    expect(`${lines.join("\n")}\n`).toBe(printed);
  });
});
