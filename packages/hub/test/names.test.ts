import { execFileSync } from "node:child_process";

import { array, assert, constantFrom, property, sample, tuple } from "fast-check";
import { describe, expect, it } from "vitest";

import { HubNameError } from "../src/index.ts";
import { caseCollision, validateFilename } from "../src/names/filename.ts";
import { nearestNames } from "../src/names/nearest.ts";
import { pathFilter } from "../src/names/patterns.ts";
import { parseRepository, repositoryFolder, validateRevision } from "../src/names/repository.ts";

describe("repositories", () => {
  it.each([
    ["gpt2", "models--gpt2"],
    ["google-bert/bert-base-uncased", "models--google-bert--bert-base-uncased"],
    ["models/a/b", "models--a--b"],
    ["datasets/a/b", "datasets--a--b"],
    ["spaces/a/b", "spaces--a--b"],
  ])("%s lies in %s", (designation, folder) => {
    expect(repositoryFolder(parseRepository(designation))).toBe(folder);
  });

  it.each([
    "",
    "/",
    "a/b/c",
    "../x",
    "a/..",
    "a--b/c",
    "a/b.git",
    "-a/b",
    "a/b.",
    "a b",
    "a/b\n",
    "C:/x",
    "é/x",
    "x".repeat(97),
  ])("%j is no id", (id) => expect(() => parseRepository(id)).toThrow(HubNameError));

  it("an unknown type is refused", () => {
    expect(() => parseRepository({ type: "bucket" as "model", id: "a/b" })).toThrow("model, dataset, space");
  });
});

describe("fault 95: malicious revisions", () => {
  it.each([
    "../../x",
    "..",
    "a/../b",
    "/etc",
    "a//b",
    "a/",
    "C:\\x",
    "\\\\host\\share",
    "a\u0000b",
    "a b",
    "a:b",
    "@{u}",
    "x@{0}",
    ".hidden",
    "a/.b",
    "main.lock",
    "NUL",
    "a/con",
    "",
    "x".repeat(256),
    "a~1",
    "a^",
    "a?",
    "a*",
    "a[",
    "v1.",
  ])("%j is refused", (revision) => expect(() => validateRevision(revision)).toThrow(HubNameError));

  it.each(["main", "v1.0", "refs/pr/1", "feature/x_y-z", "0123456789abcdef0123456789abcdef01234567"])(
    "%s is fine",
    (revision) => {
      expect(validateRevision(revision)).toBe(revision);
    },
  );
});

describe("fault 90: names that are not safe on every system", () => {
  it.each([
    "CON",
    "nul",
    "aux.txt",
    "a/COM1",
    "lpt9.bin",
    "com¹",
    "CONIN$",
    "a.",
    "a ",
    "a./b",
    "dir /b",
    "a<b",
    'a"b',
    "a|b",
    "a?b",
    "a*b",
    "a:b",
    "C:x",
    "c:/x",
    "\\\\host\\share\\x",
    "a\\..\\b",
    "/etc/passwd",
    "//host/share",
    "../x",
    "a/../b",
    "a/./b",
    "a//b",
    "a/",
    "",
    "a\u0000",
    "a\u0007b",
    "x".repeat(256),
    `${"d/".repeat(512)}x`,
    "é".repeat(128),
  ])("%j is refused", (name) => expect(() => validateFilename(name)).toThrow(HubNameError));

  it.each([
    "config.json",
    "onnx/model.onnx_data",
    ".gitattributes",
    "a/.hidden",
    "CONSOLE",
    "com10",
    "null",
    "a b/c",
    "模型.bin",
    "é.txt",
    "...a",
  ])("%j is fine", (name) => expect(validateFilename(name)).toBe(name));

  it("whatever passes stays below its folder, under the rules of POSIX and of Windows", async () => {
    const { posix, win32 } = await import("node:path");
    const pieces = constantFrom("..", ".", "/", "\\", "a", "C:", "con", " ", "\u0000", "?", "x.txt");
    assert(
      property(array(pieces, { maxLength: 6 }), (parts) => {
        const name = parts.join("");
        try {
          validateFilename(name);
        } catch {
          return;
        }
        expect(posix.resolve("/base", name).startsWith("/base/")).toBe(true);
        expect(win32.resolve("C:\\base", name).startsWith("C:\\base\\")).toBe(true);
      }),
      { numRuns: 2000, seed: 1 },
    );
  });
});

describe("fault 89: names that are one where case is ignored", () => {
  it("finds files, folders and Unicode forms", () => {
    expect(caseCollision(["README.md", "readme.MD"])).toEqual(["README.md", "readme.MD"]);
    expect(caseCollision(["Data/a", "data/b"])).toEqual(["Data", "data"]);
    expect(caseCollision(["caf\u00e9", "cafe\u0301"])).toEqual(["caf\u00e9", "cafe\u0301"]);
    expect(caseCollision(["a/x", "a/y", "b/x"])).toBeUndefined();
  });
});

function passes(pattern: string, path: string): boolean {
  return pathFilter(pattern)(path);
}

describe("patterns", () => {
  it("are those of huggingface_hub", () => {
    expect(passes("*.json", "deep/er/config.json")).toBe(true);
    expect(passes("onnx/", "onnx/a/b")).toBe(true);
    expect(passes("model.[!b]*", "model.safetensors")).toBe(true);
    expect(passes("model.[!b]*", "model.bin")).toBe(false);
    expect(passes("model_?.bin", "model_12.bin")).toBe(false);
    expect(passes("*.JSON", "a.json")).toBe(false);
    expect(passes("a+b(c).{x}", "a+b(c).{x}")).toBe(true);
    expect(passes("[", "[")).toBe(true);
    // A bracket that comes first is a member of the set, or there is no set.
    expect(passes("[]]", "]")).toBe(true);
    expect(passes("[]", "[]")).toBe(true);
    expect(passes("[!]?", "[!]x")).toBe(true);
    expect(passes("[!]?", "[]")).toBe(false);
    expect(passes("sub\\*.txt", "sub/a.txt")).toBe(true);
    expect(pathFilter(["*.json", "*.txt"], "vocab*")("vocab.txt")).toBe(false);
    expect(pathFilter([])("anything")).toBe(false);
    expect(() => pathFilter("[z-a]")).toThrow(HubNameError);
  });

  it("do not take exponential time", () => {
    // In exponential time this would take hours.
    expect(pathFilter(`${"*a".repeat(12)}*b`)("a".repeat(60))).toBe(false);
    expect(pathFilter(`${"*".repeat(60)}b`)("a".repeat(1000))).toBe(false);
  });

  const python = findPython();
  it.skipIf(python === undefined)("equal Python's fnmatch (skipped without python3)", () => {
    const glyph = constantFrom("a", "b", "*", "?", "[", "]", "!", "-", ".", "/", "^", "(", "\\");
    const text = array(glyph, { maxLength: 6 }).map((parts) => parts.join(""));
    const cases = sample(
      tuple(
        text,
        array(constantFrom("a", "b", ".", "/", "[", "]", "-", "^", "!"), { maxLength: 5 }).map((p) => p.join("")),
      ),
      { numRuns: 3000, seed: 7 },
    );
    const program =
      "import sys,json,fnmatch\n" +
      "fix=lambda p:(lambda q:q+'*' if q.endswith('/') else q)(p.replace('\\\\','/'))\n" +
      "print(json.dumps([fnmatch.fnmatchcase(t,fix(p)) for p,t in json.load(sys.stdin)]))";
    const expected = JSON.parse(
      execFileSync(python!, ["-c", program], { input: JSON.stringify(cases), encoding: "utf8" }),
    ) as boolean[];
    const found = cases.map(([pattern, path], index) => {
      try {
        return passes(pattern, path);
      } catch (error) {
        // A range that runs backwards: empty for Python, an error for us.
        return error instanceof HubNameError ? expected[index] : error;
      }
    });
    expect(found.map((result, index) => [...cases[index]!, result])).toEqual(
      expected.map((result, index) => [...cases[index]!, result]),
    );
    expect(found.filter((result) => result === true).length).toBeGreaterThan(50);
  });
});

describe("suggestions", () => {
  it("are the nearest names", () => {
    const files = ["config.json", "onnx/model.onnx", "onnx/model_fp16.onnx", "tokenizer.json", "vocab.txt"];
    expect(nearestNames("model.onnx", files)[0]).toBe("onnx/model.onnx");
    expect(nearestNames("confg.json", files)).toEqual(["config.json"]);
    expect(nearestNames("Vocab.TXT", files)).toEqual(["vocab.txt"]);
    expect(nearestNames("something-else-entirely", files)).toEqual([]);
  });
});

function findPython(): string | undefined {
  for (const name of ["python3", "python"]) {
    try {
      execFileSync(name, ["--version"], { stdio: "ignore" });
      return name;
    } catch {
      continue;
    }
  }
  return undefined;
}
