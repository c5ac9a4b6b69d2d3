import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { decodeModel, encodeModel } from "@favor/onnx";
import type { NodeProto } from "@favor/onnx";
import { describe, expect, test } from "vitest";

import { convert, verify } from "../src/index.ts";
import { temporaryFolder } from "./temporary-folder.ts";
import { favorConvert } from "./terminal.ts";

const zoo = fileURLToPath(new URL("../../../../shared/zoo/", import.meta.url));
const decoder = join(zoo, "gpt2-ts113-eager-op14-dyn.onnx");
const pieces = "pieces with the state between give the whole";

describe.skipIf(!existsSync(zoo))("decoders with a state (skipped if ../shared/zoo is absent)", () => {
  test.each(["gpt2-ts113-eager-op14-dyn", "llama-optimum"])(
    "%s: verify feeds the state, whole and in pieces",
    async (name) => {
      const original = join(zoo, `${name}.onnx`);
      for (const target of ["standard", "onnxruntime"] as const) {
        const output = join(await temporaryFolder(), "out");
        await convert({ source: original, output, count: 16, stateful: true, target });
        const { passed, checks } = await verify({ original, converted: output });
        expect(checks.map((check) => check.name)).toEqual([
          "source is the one converted",
          "model is unchanged",
          "inputs and outputs are the original's, beside the state",
          "padding changes nothing",
          pieces,
        ]);
        expect(passed).toBe(true);
      }
    },
  );

  test("a state that stands still is found", async () => {
    const output = join(await temporaryFolder(), "out");
    await convert({ source: decoder, output, count: 16, stateful: true });
    const path = join(output, "onnx", "model.onnx");
    const model = decodeModel(await readFile(path));
    const present = model.graph!.node.find((node: NodeProto) => node.output[0] === "favor_present.0.sums")!;
    present.input = ["favor_past.0.sums"];
    await writeFile(path, encodeModel(model));
    const { checks } = await verify({ original: decoder, converted: output });
    expect(checks.find(({ name }) => name === pieces)).toMatchObject({ passed: false });
  });

  test("opset 27, which onnxruntime does not load: said in plain words, with what to do", async () => {
    const output = join(await temporaryFolder(), "out");
    await convert({ source: decoder, output, count: 16, target: "onnx27" });
    const { checks } = await verify({ original: decoder, converted: output });
    expect(checks.at(-1)!.passed).toBe(false);
    expect(checks.at(-1)!.found).toMatch(
      /is of opset 27, and this onnxruntime loads models up to opset 26\..* convert with --target onnxruntime or standard\.$/,
    );
    const answer = await favorConvert("verify", decoder, output, "--quiet");
    expect(answer.status).toBe(4);
    expect(Math.max(...answer.stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  });
});
