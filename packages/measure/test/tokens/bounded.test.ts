import { InputError } from "@favor/checkpoints";
import { loadTokenizer } from "@favor/measure/tokens";
import { temporaryFile } from "@favor/test-support/temporary-folder";
import { dirname } from "node:path";
import { afterEach, expect, test } from "vitest";

import { textRecord } from "../../src/data/record.ts";
import { runBounded } from "../../src/tokens/bounded.ts";

const backtracks = (): boolean => /^(a+)+$/.test(`${"a".repeat(50)}!`);

test("results and errors pass through", () => {
  expect(runBounded(() => 3, 1000)).toEqual({ result: 3 });
  expect(runBounded(() => undefined, 1000)).toEqual({ result: undefined });
  const error = new InputError("no", { code: "data-malformed" });
  expect(() =>
    runBounded(() => {
      throw error;
    }, 1000),
  ).toThrow(error);
});

test("a pattern that backtracks and a loop without end are ended, and the next work runs", () => {
  expect(runBounded(backtracks, 50)).toBeUndefined();
  expect(
    runBounded(() => {
      for (;;);
    }, 50),
  ).toBeUndefined();
  expect(runBounded(() => "next", 1000)).toEqual({ result: "next" });
});

const listeners: (() => void)[] = [];
afterEach(() => {
  for (const listener of listeners.splice(0)) process.off("SIGINT", listener);
});

test("Ctrl-C reaches its handlers from inside the work", () => {
  let seen = 0;
  const listener = (): void => void seen++;
  listeners.push(listener);
  process.on("SIGINT", listener);
  // Runs again after the handlers, and ends: a run that stops gracefully wants its result.
  const work = (): string => {
    if (seen > 0) return "done";
    process.kill(process.pid, "SIGINT");
    backtracks();
    return "not interrupted";
  };
  expect(runBounded(work, 60_000)).toEqual({ result: "done" });
  expect(seen).toBe(1);
});

test("words of a megabyte, which BPE merges in quadratic time, are ended or done within the bound", async () => {
  const letters = [..."abcdefghijklmnopqrstuvwxyz"];
  const pairs = letters.flatMap((first) => letters.map((second) => [first, second] as const));
  const vocab = Object.fromEntries(
    ["[UNK]", ...letters, ...pairs.map((pair) => pair.join(""))].map((token, id) => [token, id]),
  );
  const model = { type: "BPE", unk_token: "[UNK]", vocab, merges: pairs.map((pair) => pair.join(" ")) };
  const description = {
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model,
  };
  const path = await temporaryFile("tokenizer.json", JSON.stringify(description));
  const tokenizer = await loadTokenizer(dirname(path));
  const word = Array.from({ length: 2 ** 20 - 1 }, (_, i) => letters[(i * i + (i >> 3)) % 26]!).join("");
  const start = performance.now();
  let code = "done";
  try {
    tokenizer.encode(textRecord(word, 1), "data.txt");
  } catch (error) {
    code = error instanceof InputError ? error.code : String(error);
  }
  expect(["done", "tokenizer-too-slow"]).toContain(code);
  expect(performance.now() - start).toBeLessThan(30_000);
});
