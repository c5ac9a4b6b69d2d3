import { readFileSync } from "node:fs";

/** What the repository keeps of its documents. */
export const docs: URL = new URL("../../../docs/", import.meta.url);

/** A file of `docs/measurements` by its name. */
export function measured<Figures>(name: string): Figures {
  return JSON.parse(readFileSync(new URL(`measurements/${name}.json`, docs), "utf8")) as Figures;
}

/** A figure with its 95 % interval. */
interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** `antiberty.json`; shares in percent. */
export interface AntibertyFigures {
  readonly sequences: number;
  readonly maskedTokens: number;
  readonly maskedShare: number;
  readonly softmax: Estimate;
  readonly conversions: readonly {
    readonly attention: string;
    readonly accuracy: Estimate;
    readonly kept: Estimate;
    readonly seconds: number;
    readonly processorSeconds: number;
    readonly peakMegabytes: number;
  }[];
  readonly distilled: readonly {
    readonly attention: string;
    readonly stepsOf: string;
    readonly accuracy: Estimate;
    readonly kept: Estimate;
    readonly perplexity: number;
    readonly minutes: number;
    readonly peakMegabytes: number;
  }[];
}

/** `long-code.json`, as `gain.js` writes it; shares of 1. */
export interface LongCodeFigures {
  readonly quality: readonly {
    readonly length: number;
    readonly maskedTokens: number;
    readonly softmax: Estimate;
    readonly linear: Estimate;
    readonly kept: Estimate;
  }[];
  readonly speed: readonly {
    readonly length: number;
    readonly softmaxSeconds: number;
    readonly linearSeconds: number;
  }[];
}

/** `quality-at-length.json`, as the example of long documents measures it; shares of 1. */
export interface QualityAtLength {
  readonly setting: { readonly calibration: { readonly maxLength: number; readonly calibrateCount: number } };
  readonly machine: {
    readonly processor: string;
    readonly cores: number;
    readonly node: string;
    readonly date: string;
  };
  /** By length, ascending. */
  readonly results: readonly LengthResult[];
}

export interface LengthResult {
  /** In tokens. */
  readonly length: number;
  readonly windows: number;
  readonly maskedTokens: number;
  /** The softmax original first; absent where softmax itself fails. */
  readonly models?: readonly ModelResult[];
  /** Accuracy of softmax at this length, and at the longest that it was trained at. */
  readonly softmaxFails?: { readonly accuracy: number; readonly trained: number };
}

export interface ModelResult {
  readonly name: string;
  readonly accuracy: Estimate;
  readonly perplexity: Estimate;
  /** Share of softmax's accuracy; absent for softmax. */
  readonly kept?: Estimate;
  /** Of one forward pass. */
  readonly seconds: number;
  readonly peakBytes: number;
}
