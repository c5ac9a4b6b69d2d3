import { visibleJson, visibleLines, visibleObject, visibleText } from "@favor/checkpoints";
import { expect, test } from "vitest";

/** What a terminal or a browser obeys or hides, each once. */
const unseen: readonly number[] = [
  0, 7, 8, 9, 10, 13, 0x1b, 0x7f, 0x85, 0x9b, 0xad, 0x61c, 0x200b, 0x200d, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a,
  0x202e, 0x2060, 0x2066, 0x2069, 0x3164, 0xfeff, 0xe0001, 0xe0041, 0xd800,
];

test("what would be obeyed or hidden is written out; anything else stays", () => {
  for (const code of unseen) {
    const character = String.fromCodePoint(code);
    expect(visibleText(`a${character}b`)).toBe(`a\\u{${code.toString(16)}}b`);
  }
  expect(visibleText("Überprüfung 蛋白質 🧬 \\ \"'")).toBe("Überprüfung 蛋白質 🧬 \\ \"'");
});

test("line ends of our own stay in lines, those of names in an object do not", () => {
  expect(visibleLines("one\ntwo\u202e\r\n")).toBe("one\ntwo\\u{202e}\\u{d}\n");
  const object = { names: ["a\nVerified."], "\u001b": { count: 2, kind: undefined, when: new Date(0) } };
  expect(visibleObject(object)).toEqual({
    names: ["a\\u{a}Verified."],
    "\\u{1b}": { count: 2, kind: undefined, when: new Date(0) },
  });
});

test("JSON holds none of them either, and reads as before", () => {
  const object = { name: unseen.map((code) => String.fromCodePoint(code)).join(" ") };
  const json = visibleJson(object);
  expect(json).not.toMatch(/[^\n\u0020-\u007e]/);
  expect(JSON.parse(json)).toEqual(object);
});

test("a text of millions of characters loses its middle", () => {
  const long = `begin${"x".repeat(2 ** 24)}end`;
  for (const text of [visibleText(long), visibleJson({ long })]) {
    expect(text.length).toBeLessThan(10_000);
    expect(text).toMatch(/beginx+ \.\.\. \(16777224 characters\) \.\.\. x+end/);
  }
});
