import { availableParallelism } from "node:os";

import { FavorError, RandomStream, streamPurpose } from "@favor/core";
import { maximumTokens } from "@favor/checkpoints/node";
import type { Source } from "@favor/checkpoints/node";
import type { ModelProto } from "@favor/onnx";
import { attentionCost, describeFeatures, siteCosts, siteRecord } from "@favor/report";
import type { FavorOptions } from "@favor/report";
import type { Conversion, ModelAttention } from "@favor/rewriter";

import { breakEvenOf } from "./break-even.ts";
import type { BreakEven } from "./break-even.ts";
import { weightBytes } from "./card-facts.ts";
import type { ConvertRequest } from "./request.ts";

/** What a conversion would give and take; from a dry run. */
export interface Plan {
  /** The features in words. */
  readonly features: string;
  /** Bytes of all weights, before and after. */
  readonly weights: { readonly before: number; readonly after: number };
  /** Absent if attention takes as much computation as softmax at every length. */
  readonly breakEven?: BreakEven;
  /** Multiply-adds of the attention of one sequence, without projections, by its length in tokens. */
  readonly cost: readonly { readonly length: number; readonly softmax: number; readonly converted: number }[];
  /** About how long the conversion would take on this machine, in seconds; undefined if the model was not run. */
  readonly seconds: number | undefined;
}

/** Tokens of a sequence whose pass through the original is timed. The data are not read, so their lengths are unknown. */
const usualLength = 128;

/** Seconds to fit 256 landmarks of one head, on one thread of a usual server; they grow a little faster than their number. */
const fitSeconds = (count: number): number => 1.3 * (count / 256) ** 1.35;

/**
 * @param found - `opened`: milliseconds that opening and rewriting the model took; `longestInput`: that the graph allows.
 */
export async function planOf(
  request: ConvertRequest,
  options: FavorOptions,
  source: Source,
  original: ModelProto,
  conversion: Conversion,
  { opened, longestInput }: { readonly opened: number; readonly longestInput: ModelAttention["longestInput"] },
): Promise<Plan> {
  const sites = conversion.sites.map((site) => siteRecord(site, undefined));
  const { calibrateCount = 200 } = request;
  const calibration = request.calibrate === undefined ? undefined : { sequences: calibrateCount };
  const longest = maximumTokens(source.config, longestInput);
  const breakEven = breakEvenOf(siteCosts({ sites }), options.maxLength ?? longest);
  return {
    features: describeFeatures({ options, calibration }),
    weights: { before: weightBytes(original), after: weightBytes(conversion.model) },
    ...(breakEven !== undefined && { breakEven }),
    cost: attentionCost(siteCosts({ sites })).map(([length, softmax, converted]) => ({ length, softmax, converted })),
    seconds: await secondsOf(request, options, source, conversion, {
      rewriting: opened / 1000,
      usual: Math.min(usualLength, longest ?? usualLength),
    }),
  };
}

async function secondsOf(
  request: ConvertRequest,
  options: FavorOptions,
  source: Source,
  { sites }: Conversion,
  { rewriting, usual }: { readonly rewriting: number; readonly usual: number },
): Promise<number | undefined> {
  const { calibrateCount = 200, evaluateCount = 500, calibrate, evaluate, threads = availableParallelism() } = request;
  // Reading and rewriting once more, and writing.
  const once = 2 * rewriting;
  if (calibrate === undefined && evaluate === undefined) return once;
  const pass = await passSeconds(source, usual, threads);
  if (pass === undefined) return undefined;
  const heads = sites.reduce((sum, site) => sum + (site.state === "linear" ? site.heads : 0), 0);
  const fits = calibrate === undefined || options.features !== "landmark" ? 0 : heads * fitSeconds(options.count);
  // Calibration runs the original for statistics, and on a part for samples; evaluation runs both models.
  const passes =
    (calibrate === undefined ? 0 : 1.5 * calibrateCount) + (evaluate === undefined ? 0 : 2 * evaluateCount);
  return once + passes * pass + fits / threads;
}

/** Seconds that the original takes for one sequence; undefined for weights alone, and for a model that is fed otherwise. */
async function passSeconds(source: Source, length: number, threads: number): Promise<number | undefined> {
  if (!source.modelPath.endsWith(".onnx")) return undefined;
  const { ModelRunner, runnerOptions } = await import("@favor/measure");
  const random = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
  try {
    const runner = await ModelRunner.open(source.modelPath, { ...runnerOptions(source.config), threads });
    try {
      const vocabulary = runner.feeding.vocabulary ?? source.config.vocab_size ?? 2;
      const ids = Array.from({ length }, () => random.integer(vocabulary));
      const [output] = runner.outputs;
      await runner.runAll([ids], [output!]);
      const began = performance.now();
      await runner.runAll([ids], [output!]);
      return (performance.now() - began) / 1000;
    } finally {
      await runner.close();
    }
  } catch (error) {
    if (FavorError.isInstance(error)) return undefined;
    throw error;
  }
}
