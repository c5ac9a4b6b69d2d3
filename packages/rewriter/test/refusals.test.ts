import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { refusalCodes, type RefusalMeaning } from "../src/index.ts";

const page = readFileSync(new URL("../REFUSALS.md", import.meta.url), "utf8");

test("REFUSALS.md has every refusal code with its meaning and remedy", () => {
  const rows = [...page.matchAll(/^\| `([a-z-]+)` +\| ([^|]+?) +\| ([^|]+?) +\|$/gm)];
  const table = rows.map(([, code, found, remedy]): [string, RefusalMeaning] => [
    code!,
    { found: found!, remedy: remedy! },
  ]);
  expect(table).toEqual(Object.entries(refusalCodes));
});

test("meanings and remedies are sentences", () => {
  const sentences = Object.values(refusalCodes).flatMap(({ found, remedy }) => [found, remedy]);
  for (const sentence of sentences) expect(sentence).toMatch(/^[A-Z].*\.$/);
});
