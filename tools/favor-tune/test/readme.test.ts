import { readFile, stat } from "node:fs/promises";

import { expect, test } from "vitest";

import * as favorTune from "../src/index.ts";
import { calibration } from "@favor/test-support/antibody";
import { shallowOnce } from "./converted.ts";
import { favorTune as commandLine } from "./terminal.ts";

const { converted, original } = shallowOnce({ count: 16 });

test("the README's example runs as it stands", async () => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const [, example] = /```js\nimport \{ tune \} from "favor-tune";\n(.*?)```/s.exec(readme)!;
  const said: string[] = [];
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor as new (
    ...parts: string[]
  ) => (...values: unknown[]) => Promise<void>;
  const source = await converted();
  const paths = { "checkpoint-linear": source, checkpoint: original(), "train.fasta": calibration };
  let body = example!;
  for (const [name, path] of Object.entries(paths)) body = body.replaceAll(`"${name}"`, JSON.stringify(path));
  const console = { log: (line: string) => void said.push(line) };
  await new AsyncFunction("tune", "console", body)(favorTune.tune, console);
  expect(said).toEqual([expect.stringMatching(/^0\.\d+ before, 0\.\d+ after: .*-tuned$/)]);
  expect((await stat(`${source}-tuned`)).isDirectory()).toBe(true);
});

test("the README names every option", async () => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const { stdout } = await commandLine("--help");
  const options = [...stdout.matchAll(/^ .* --([a-z-]+) /gm)].map(([, name]) => name!);
  expect(options.length).toBeGreaterThan(30);
  for (const option of options.filter((name) => name !== "help" && name !== "version"))
    expect(readme).toContain(`\`--${option}`);
});
