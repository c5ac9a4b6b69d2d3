import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { decodeModel, encodeModel } from "@favor/onnx";
import type { NodeProto } from "@favor/onnx";
import { describe, expect, test } from "vitest";

import { convert, verify } from "../src/index.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";

const execute = promisify(execFile);
const decoder = sharedZoo.path("gpt2-ts113-eager-op14-dyn.onnx");
const pieces = "feeding in pieces gives the same as feeding whole";

describe.skipIf(!hasSharedZoo)("decoders with a state (skipped if ../shared/zoo is absent)", () => {
  test.each(["gpt2-ts113-eager-op14-dyn", "llama-optimum"])(
    "%s: verify feeds the state, whole and in pieces",
    async (name) => {
      const original = sharedZoo.path(`${name}.onnx`);
      for (const target of ["standard", "onnxruntime"] as const) {
        const output = join(await temporaryFolder(), "out");
        await convert({ source: original, output, count: 16, stateful: true, target });
        const { passed, checks } = await verify({ original, converted: output });
        expect(checks.map((check) => check.name)).toEqual([
          "source is the one that was converted",
          "model is unchanged",
          "attention may be replaced",
          "inputs and outputs match the original's, except for the state",
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

  test("the model card's code feeds the state: token by token as all at once", async () => {
    const output = join(await temporaryFolder(), "out");
    await convert({ source: decoder, output, count: 16, stateful: true });
    const card = await readFile(join(output, "README.md"), "utf8");
    expect(card).toContain("in addition, the model takes and returns its state");
    expect(card).toContain("N is the number of the attention: 0, 1.");
    const [, code] = /```js\n(.*?)```/s.exec(card)!;
    const use = `${code!.replace('"onnx/model.onnx"', JSON.stringify(join(output, "onnx", "model.onnx")))}
      const int64 = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
      const tokens = [3, 10, 17, 24, 2, 9];
      const logits = [];
      const whole = process.argv[1] === "whole";
      for (const piece of whole ? [tokens] : tokens.map((token) => [token])) {
        const inputs = { input_ids: int64(piece), attention_mask: int64(piece.map(() => 1)) };
        const outputs = await next(inputs, piece.length);
        logits.push(...outputs[session.outputNames[0]].data);
      }
      console.log(JSON.stringify(logits));`;
    const run = async (how: string): Promise<number[]> => {
      const folder = fileURLToPath(new URL("..", import.meta.url));
      const { stdout } = await execute(process.execPath, ["--input-type=module", "-e", use, how], { cwd: folder });
      return JSON.parse(stdout) as number[];
    };
    const [whole, parts] = [await run("whole"), await run("pieces")];
    expect(whole.length).toBeGreaterThan(100);
    expect(parts).toHaveLength(whole.length);
    expect(Math.max(...whole.map((value, i) => Math.abs(value - parts[i]!)))).toBeLessThan(1e-4);
  });

  test("the model card of an opset 27 model names a runtime that loads it", async () => {
    const output = join(await temporaryFolder(), "out");
    await convert({ source: decoder, output, count: 16, target: "onnx27" });
    const card = await readFile(join(output, "README.md"), "utf8");
    expect(card).toContain("onnxruntime 1.30 does not load that opset yet");
    expect(card).toContain('import { OnnxModel } from "@favor/onnx-tfjs"');
    expect(card).not.toContain("InferenceSession");
  });

  test("opset 27, which onnxruntime does not load: said in plain words, with what to do", async () => {
    const output = join(await temporaryFolder(), "out");
    await convert({ source: decoder, output, count: 16, target: "onnx27" });
    const { checks } = await verify({ original: decoder, converted: output });
    expect(checks.at(-1)!.passed).toBe(false);
    expect(checks.at(-1)!.found).toMatch(
      /uses opset 27, but this onnxruntime only loads models up to opset 26\..* convert with --target onnxruntime or standard\.$/,
    );
    const answer = await favorConvert("verify", decoder, output, "--quiet");
    expect(answer.status).toBe(4);
    expect(Math.max(...answer.stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  });
});
