import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const root = new URL("../../../", import.meta.url);
const text = readFileSync(new URL("docs/architecture.md", root), "utf8");

it("every path that docs/architecture.md names exists", () => {
  const paths = [...text.matchAll(/`((?:packages|tools|examples|docs)\/[^`]+)`/g)].map(([, path]) => path!);
  expect(paths.length).toBeGreaterThan(25);
  expect(paths.filter((path) => !existsSync(new URL(path, root)))).toEqual([]);
});

it("every package that is published is in the picture or the text", () => {
  const names = [
    "checkpoints",
    "command-line",
    "core",
    "hub",
    "measure",
    "onnx",
    "onnx-tfjs",
    "report",
    "rewriter",
    "tfjs",
  ];
  expect(names.filter((name) => !text.includes(`@favor/${name}`))).toEqual([]);
});
