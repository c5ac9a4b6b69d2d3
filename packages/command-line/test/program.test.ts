import { FavorError } from "@favor/core";
import { exitCodeOf, runProgram } from "@favor/command-line";
import type { Print } from "@favor/command-line";
import type { Progress } from "@favor/checkpoints";
import { InputError } from "@favor/checkpoints";
import { answerOf } from "@favor/test-support/terminal";
import type { Answer } from "@favor/test-support/terminal";
import { describe, expect, test } from "vitest";

/** Runs a program that does `work`. */
async function answer(
  json: boolean,
  work: (progress: Progress, print: Print) => void | Promise<void>,
): Promise<Answer> {
  const program = {
    name: "tool",
    parse: async () => ({ json, quiet: false }),
    run: async (_: object, progress: Progress, print: Print) => {
      await work(progress, print);
      return 0;
    },
    exitCodeOf,
  };
  return answerOf((argv, terminal) => runProgram(program, argv, terminal), json ? ["--json"] : []);
}

/** A name that sets the title, deletes the line, turns text around and forges a line of ours. */
const hostile = "\u001B]0;title\u0007\u001B[2K\rtool: done\nVerified.\u009B31m\u202Egnp";
const shown = String.raw`\u{1b}]0;title\u{7}\u{1b}[2K\u{d}tool: done\u{a}Verified.\u{9b}31m\u{202e}gnp`;

describe("names never command the terminal", () => {
  test("as text: the result, progress, notes and warnings", async () => {
    const { stdout, stderr } = await answer(false, (progress, print) => {
      progress.stage(hostile);
      progress.stage(hostile, 3);
      progress.note(hostile);
      progress.warn(hostile);
      print({ name: hostile }, ({ name }) => `node ${name}\nVerified.`);
    });
    expect(stdout).toBe(`node ${shown}\nVerified.\n`);
    expect(stderr).toBe(`${shown} ...\n${shown} (3) ...\n${shown}\nWarning: ${shown}\n`);
  });

  test("as JSON, which still holds the name", async () => {
    const { stdout } = await answer(true, (_, print) => print({ name: hostile }, () => ""));
    expect(stdout).not.toMatch(/[^\n\u0020-\u007e]/);
    expect(JSON.parse(stdout)).toEqual({ name: hostile });
  });

  test("as JSON of another form than the result", async () => {
    const { stdout } = await answer(true, (_, print) =>
      print(
        { a: 1 },
        () => "",
        ({ a }) => ({ b: a }),
      ),
    );
    expect(JSON.parse(stdout)).toEqual({ b: 1 });
  });

  test("errors, known and unknown", async () => {
    const known = await answer(true, () => {
      throw new FavorError(`found ${hostile}`, { code: "x", details: { name: hostile } });
    });
    expect(known.stderr).not.toMatch(/[^\n\u0020-\u007e]/);
    expect(known.stderr.split("\n")).toHaveLength(2);
    expect(JSON.parse(known.stdout)).toMatchObject({ error: { details: { name: hostile } } });
    const unknown = await answer(false, () => {
      throw new TypeError(hostile);
    });
    expect(unknown.stderr).not.toMatch(/[^\n\u0020-\u007e]/);
  });
});

describe("out of memory is told as such, with exit code 1", () => {
  test("whatever the code that met it thought", async () => {
    const { status, stderr } = await answer(false, () => {
      try {
        void new ArrayBuffer(2 ** 52);
      } catch (cause) {
        throw new InputError("The model is damaged.", { code: "model-malformed", cause });
      }
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^tool: There is not enough memory to go on\..*\n$/);
  });

  test.each(["Failed to allocate memory for requested buffer of size 1099511627776", "std::bad_alloc"])(
    "said by onnxruntime: %s",
    async (message) => {
      const { status, stdout } = await answer(true, () => {
        throw new Error(message);
      });
      expect(status).toBe(1);
      expect(JSON.parse(stdout)).toMatchObject({ error: { code: "out-of-memory", details: { found: message } } });
    },
  );
});
