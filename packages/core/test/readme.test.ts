import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const example = /```js\n((?:import \{[^}]*\} from "@favor\/core[^"]*";\n)+)([\s\S]*?)```\s+```\n([\s\S]*?)```/g;
const examples = [...readme.matchAll(example)].map(([, imports, body, printed]) => ({
  imports: [...imports!.matchAll(/\{([^}]*)\} from "@favor\/core\/?([^"]*)"/g)].flatMap(([, names, entry]) =>
    names!.split(",").map((name) => ({ name: name.trim(), entry: entry! })),
  ),
  body: body!,
  printed: printed!,
}));
/** By what follows `@favor/core/` in an import. */
const entries: Record<string, () => Promise<Record<string, unknown>>> = {
  "": () => import("../src/index.ts"),
  calibration: () => import("../src/calibration/index.ts"),
};
const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor as FunctionConstructor;

describe("the README's examples print what the README says", () => {
  it("there are three", () => {
    expect(examples.length).toBe(3);
  });

  it.each(examples)("$imports.0.name", async ({ imports, body, printed }) => {
    const values = await Promise.all(imports.map(async ({ name, entry }) => (await entries[entry]!())[name]));
    const lines: string[] = [];
    await new AsyncFunction(...imports.map(({ name }) => name), "console", body)(...values, {
      log: (...printedValues: unknown[]) => lines.push(printedValues.join(" ")),
    });
    expect(`${lines.join("\n")}\n`).toBe(printed);
  });
});
