import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";

import { convert, evaluate } from "../src/index.ts";
import type { SpeedMeasurement, SpeedOptions } from "../src/index.ts";
import { calibration, tiny, validation } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

const here = (name: string): Promise<string> => readFile(new URL(name, import.meta.url), "utf8");

/** In the place of `measureSpeed`, which has tests of its own: it needs the build. */
async function measureNothing(_: string, { lengths }: SpeedOptions): Promise<Partial<SpeedMeasurement>[]> {
  return lengths.map((length) => ({ length, seconds: 0.25 }));
}

async function example(): Promise<string> {
  const [, code] = /```ts\n(import \{[^}]*\} from "favor-convert";\n.*?)```/s.exec(await here("../README.md"))!;
  return code!;
}

test("the README's library example is the file that tsc checks", async () => {
  expect(await example()).toBe(await here("./readme-example.ts"));
});

test("the README's library example runs as it stands", async () => {
  const linear = join(await temporaryFolder(), "linear");
  const paths = { checkpoint: tiny, linear, "train.fasta": calibration, "val.fasta": validation };
  let body = (await example()).replace(/^import .*\n/, "");
  for (const [name, path] of Object.entries(paths)) body = body.replaceAll(`"${name}"`, JSON.stringify(path));
  const said: string[] = [];
  const few = { convert: { calibrateCount: 10, count: 16 }, evaluate: { count: 20 } };
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor as new (
    ...parts: string[]
  ) => (...values: unknown[]) => Promise<void>;
  await new AsyncFunction("convert", "evaluate", "measureSpeed", "console", body)(
    async (request: Parameters<typeof convert>[0]) => convert({ ...few.convert, ...request }),
    async (request: Parameters<typeof evaluate>[0]) => evaluate({ ...few.evaluate, ...request }),
    measureNothing,
    { log: (line: string) => void said.push(line) },
  );
  expect(said).toEqual(["4 attentions", expect.stringMatching(/^accuracy: 0\.\d+$/), "0.25 s for 512 tokens"]);
});
