import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { silent } from "@favor/checkpoints";
import { OutputFolder, openSource, openSourceModel } from "@favor/checkpoints/node";
import { loadSequences, loadTokenizer } from "@favor/measure/tokens";
import { findAttention } from "@favor/rewriter";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { expect, test } from "vitest";

import { Activations } from "../src/calibrate/activations.ts";
import type { ActivationsInput } from "../src/calibrate/activations.ts";
import { optionsOf } from "../src/commands/request.ts";

const checkpoint = fileURLToPath(new URL("cases/one-score-output", import.meta.url));

test("what is fitted for several conversions at once is what is fitted for each", async () => {
  const source = await openSource(checkpoint);
  const opened = await openSourceModel(source);
  const attention = findAttention(opened.model);
  const tokenizer = await loadTokenizer(source.folder);
  const load = { count: 12, seed: 0, maximumTokens: undefined, longer: "refuse" } as const;
  const calibration = await loadSequences(join(checkpoint, "data.txt"), tokenizer, load);
  const output = await OutputFolder.begin(join(await temporaryFolder(), "out"), { force: false, sources: [] });
  const base = { source, attention, opset: 17, tokenizer, calibration, evaluation: undefined, output, threads: 1 };
  const all = [{ window: 0, count: 8 }, { window: 16, count: 8 }, {}].map((request) =>
    optionsOf({ source: checkpoint, calibrate: "data.txt", ...request }),
  );
  const fits = async (options: readonly ActivationsInput["options"][]) => {
    const activations = await Activations.open({ ...base, options: options[0]!, progress: silent });
    try {
      return await activations.fitAll(options);
    } finally {
      await activations.close();
    }
  };
  try {
    const together = await fits(all);
    expect(together[0]).not.toEqual(together[1]);
    for (const [i, options] of all.entries()) expect(together[i]).toEqual((await fits([options]))[0]);
  } finally {
    await output.discard();
    opened.close();
  }
});
