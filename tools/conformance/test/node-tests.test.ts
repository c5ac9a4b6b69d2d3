import { expect, it } from "vitest";
import type { Outcome } from "../src/node-tests/outcome.ts";
import { pageOf } from "../src/node-tests/page.ts";

const refused = (operator: string, reason: string): Outcome => ({ result: "refused", operator, reason });

it("the page of ONNX's own tests counts those of each backend, and what is refused", () => {
  const found = new Map<string, Outcome>([
    ["a", { result: "right" }],
    ["b", { result: "right" }],
    ["c", { result: "no numbers" }],
    ["d", refused(":MaxPool", "it does not run on tfjs")],
    ["e", refused(":MaxPool", "it does not run on tfjs")],
    ["f", refused("ai.onnx.ml:Binarizer", "it does not run on tfjs")],
    ["g", refused(":Scan", "a batch axis does not run")],
  ]);
  const worse = new Map([...found, ["a", { result: "wrong", found: "1, not 2" } satisfies Outcome]]);
  const page = pageOf(new Map([["cpu", found] as const, ["wasm", worse] as const]), { onnx: "1.2", tfjs: "4.5" });
  expect(page).toContain("| cpu | 7 | 2 | 4 | 0 | 1 |\n| wasm | 7 | 1 | 4 | 1 | 1 |\n");
  expect(page).toContain("\n`MaxPool` 2, `ai.onnx.ml:Binarizer` 1.\n");
  expect(page).toContain("| `Scan` | a batch axis does not run | 1 |\n");
});
