import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { RandomStream, streamPurpose } from "@favor/core";
import { MomentAccumulator } from "@favor/core/calibration";
import { calibration, tiny, validation } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { describe, expect, test } from "vitest";

import { cheapestOfBest, countCandidates, exactKeyCandidates } from "../src/calibrate/candidates.ts";
import { fitBeside } from "../src/calibrate/fit-site.ts";
import { runHeadJob } from "../src/calibrate/head-job.ts";
import type { HeadInput } from "../src/calibrate/samples.ts";
import { longInputs } from "../src/calibrate/sampled-rows.ts";
import { timeBreakEven, timeShare } from "../src/calibrate/attention-time.ts";
import { convert } from "../src/commands/convert.ts";
import { verify } from "../src/commands/verify.ts";
import { favorConvert } from "./favor-convert.ts";

describe("the candidates", () => {
  test("are within the limit of time, cheapest first, and obey what is fixed", () => {
    const all = exactKeyCandidates({}, 4096);
    const times = all.map((each) => timeShare({ ...each, count: 0 }, 4096));
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(Math.max(...times)).toBeLessThanOrEqual(0.5);
    expect(all).toContainEqual({ window: 64, chosenBlocks: 8 });
    expect(exactKeyCandidates({ window: 96, chosenBlocks: 3 }, 512)).toEqual([{ window: 96, chosenBlocks: 3 }]);
    expect(exactKeyCandidates({ window: 16 }, 4096).every(({ window }) => window === 16)).toBe(true);
    expect(countCandidates({ count: 7 }, all[0]!)).toEqual([7]);
  });

  test("leave 40 % of the keys of the longest input to features, except for the near field", () => {
    const short = exactKeyCandidates({}, 512);
    expect(short).toContainEqual({ window: 32, chosenBlocks: 6 });
    expect(short).not.toContainEqual({ window: 32, chosenBlocks: 8 });
    expect(short).not.toContainEqual({ window: 64, chosenBlocks: 4 });
    expect(exactKeyCandidates({}, 120)).toEqual([
      { window: 32, chosenBlocks: 0 },
      { window: 64, chosenBlocks: 0 },
    ]);
  });

  test("of about equal errors give the cheapest", () => {
    expect(cheapestOfBest([0.3, 0.201, 0.2, 0.25])).toBe(1);
    expect(cheapestOfBest([0, 0])).toBe(0);
  });
});

test("time breaks even where several attentions together take a share of 1", () => {
  const attentions = [
    { work: { window: 64, chosenBlocks: 8, count: 32 }, heads: 4 },
    { work: { window: 32, chosenBlocks: 0, count: 0 }, heads: 8 },
  ];
  const at = timeBreakEven(attentions);
  const excess = (length: number): number =>
    attentions.reduce((sum, { work, heads }) => sum + heads * (timeShare(work, length) - 1), 0);
  expect(excess(at)).toBeLessThanOrEqual(0);
  expect(excess(at - 1)).toBeGreaterThan(0);
});

test("features beside exact keys are fitted to long inputs, if there are enough", () => {
  const lengths = Array.from({ length: 100 }, (_, i) => (i % 3 === 0 ? 512 : i % 3 === 1 ? 130 : 20));
  expect(new Set(longInputs(lengths).map((i) => lengths[i]))).toEqual(new Set([512]));
  expect(new Set(longInputs(lengths.slice(0, 60)).map((i) => lengths[i]))).toEqual(new Set([512, 130]));
  expect(longInputs([512, 20, 20])).toEqual([0, 1, 2]);
});

const dim = 8;

/** Queries that look one far key up, on a ground of diffuse attention. */
function lookups(seed: number, inputs: number, sharpness: number): HeadInput[] {
  const stream = new RandomStream({ seed, purpose: streamPurpose.trials });
  return Array.from({ length: inputs }, () => {
    const key = Float32Array.from(stream.gaussians(640 * dim));
    const query = new Float32Array(key.length);
    for (let i = 0; i < 640; i++) {
      // Queries of one block look into the same far block.
      const at = ((Math.floor(i / 32) + 10) % 20) * 32 + stream.integer(32);
      for (let l = 0; l < dim; l++) query[i * dim + l] = sharpness * key[at * dim + l]!;
    }
    return { query, key };
  });
}

async function fitted(sharpness: number, fixed = {}) {
  const [inputs, heldOut] = [lookups(1, 6, sharpness), lookups(2, 3, sharpness)];
  const accumulator = new MomentAccumulator(dim);
  for (const { query, key } of inputs) accumulator.add(Float64Array.from(query), Float64Array.from(key));
  const head = { inputs, heldOut, moments: accumulator.moments(), seed: 0, layer: 0, head: 0, causal: false, slope: 0 };
  return fitBeside([head], fixed, 640, 0, async (job) => runHeadJob(job));
}

describe("a site", () => {
  test("that looks far keys up gets chosen blocks, and one without far field if features do not help", async () => {
    const { exactKeys, featureMaps } = await fitted(2);
    expect(exactKeys!.chosenBlocks).toBeGreaterThan(0);
    expect(featureMaps.length).toBeLessThanOrEqual(1);
  });

  test("gets what is fixed", async () => {
    const { exactKeys, featureMaps } = await fitted(0.3, { window: 32, chosenBlocks: 0, count: 12 });
    expect(exactKeys).toEqual({ window: 32, chosenBlocks: 0 });
    expect(featureMaps[0]).toMatchObject({ count: 12 });
  });

  test("whose attention is diffuse keeps its far field", async () => {
    const { featureMaps } = await fitted(0.3);
    expect(featureMaps).toHaveLength(1);
  });
});

describe("a calibrated conversion", () => {
  const few = { source: tiny, calibrate: calibration, calibrateCount: 8, evaluate: validation, evaluateCount: 10 };

  test("chooses exact keys, says so, and is verified; short inputs stay exact", async () => {
    const output = join(await temporaryFolder(), "out");
    const { favor } = await convert({ ...few, output });
    expect(favor!.options).toMatchObject({ features: "landmark", chosen: ["window", "chosenBlocks", "count"] });
    for (const site of favor!.sites) {
      expect(site.exactKeys).toMatchObject({ window: 64, chosenBlocks: 0 });
      expect(site.featureMap).toMatchObject({ width: 64 });
      expect(site.error).toMatchObject({ parts: { near: expect.any(Number), chosen: expect.any(Number) } });
    }
    if (favor!.evaluation?.kind !== "masked-language") throw new Error("a masked-language evaluation was expected");
    // Two blocks of 64 are near for every query; the longer sequences of the file have more.
    const short = favor!.evaluation.byLength.filter(({ to }) => to <= 128);
    expect(short.length).toBeGreaterThan(0);
    for (const { value } of short) expect(value!.value).toBe(1);
    expect(favor!.warnings!.map(({ code }) => code)).toContain("break-even-beyond-data");
    const report = await readFile(join(output, "report.html"), "utf8");
    expect(report).toContain("as many as calibration chose for each layer");
    expect(report).toContain("error of near keys alone");
    const { checks } = await verify({ original: tiny, converted: output });
    expect(checks.filter(({ passed }) => !passed)).toEqual([]);
  });

  test("fits to the remainder what the user asks for, and --window 0 asks for none", async () => {
    const { favor } = await convert({
      ...few,
      output: join(await temporaryFolder(), "out"),
      window: 16,
      chosenBlocks: 1,
      count: 16,
    });
    for (const site of favor!.sites) {
      expect(site.exactKeys).toMatchObject({ window: 16, chosenBlocks: 1 });
      expect(site.error!.mean).toBeLessThan(site.error!.parts!.chosen);
      expect(site.error!.parts!.chosen).toBeLessThan(site.error!.parts!.near);
    }
    const plain = await convert({ ...few, output: join(await temporaryFolder(), "out"), window: 0, count: 16 });
    expect(plain.favor!.sites.some(({ exactKeys }) => exactKeys !== undefined)).toBe(false);
  });

  test("--window auto needs calibration", async () => {
    const { status, stderr } = await favorConvert(tiny, "-o", join(await temporaryFolder(), "o"), "--window", "auto");
    expect(status).toBe(2);
    expect(stderr).toContain("--window auto lets calibration choose: it needs --calibrate");
    const odd = await favorConvert(tiny, "-o", "o", "--window", "many");
    expect(odd.stderr).toContain('--window takes a whole number from 0 to 65536, or auto; found "many"');
  });
});
