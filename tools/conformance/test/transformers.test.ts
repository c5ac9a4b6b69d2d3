import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";
import { describe, expect, it } from "vitest";
import { compare } from "../src/transformers/compare.ts";
import { defaultEnvironments } from "../src/python-environment.ts";
import { makeCheckpoints, pythonOf } from "../src/transformers/python.ts";

const inFolder = folderOfEachTest();

describe.each([4, 5] as const)(
  "transformers %i (skipped without the environments that `npm run transformers` makes)",
  (generation) => {
    it.skipIf(!existsSync(join(defaultEnvironments, `transformers-${generation}`)))(
      "computes what the graphs compute that Favor builds from its checkpoints",
      async () => {
        const python = pythonOf(generation, defaultEnvironments);
        const equal: string[] = [];
        for await (const made of makeCheckpoints(python, { seed: 0, from: 0, to: 15, out: inFolder() })) {
          const folder = inFolder(String(made.index));
          const { result, what } = await compare(folder, made.index % 5 === 0);
          expect([made, result, what]).not.toEqual([made, "wrong", what]);
          if (result === "equal" && !/^(Distil|Modern)/.test(made.class)) equal.push(folder);
        }
        expect(equal.length).toBeGreaterThan(3);

        // A wrong setting shows.
        const config = join(equal[0]!, "config.json");
        const values = JSON.parse(readFileSync(config, "utf8")) as object;
        writeFileSync(config, JSON.stringify({ ...values, layer_norm_eps: 0.5 }));
        expect((await compare(equal[0]!, false)).result).toBe("wrong");
      },
    );
  },
);
