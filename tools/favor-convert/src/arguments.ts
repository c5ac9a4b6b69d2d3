import type { Argv } from "yargs";

import { featureChoices, keyFactors } from "@favor/rewriter";

import {
  choice,
  column,
  dataFile,
  defined,
  flag,
  grouped,
  outputFolder,
  parseCommandLine,
  path,
  positional,
  presentation,
  realNumber,
  textOf,
  threads,
  wholeNumber,
} from "@favor/command-line";
import type { HelpText, Presentation } from "@favor/command-line";
import type { AdviseRequest } from "./advise/request.ts";
import type { ConvertRequest } from "./commands/request.ts";
import type { VerifyRequest } from "./commands/verify.ts";
import { UsageError, checkpointTasks } from "@favor/checkpoints";
import { poolingModes } from "@favor/checkpoints/node";
import type { SourceOptions } from "@favor/checkpoints/node";
import { version } from "./versions.ts";

/** What the command line asks for. */
export type Command = Presentation &
  (
    | { readonly command: "convert"; readonly request: ConvertRequest }
    | { readonly command: "advise"; readonly request: AdviseRequest }
    | { readonly command: "inspect"; readonly source: string; readonly options: SourceOptions }
    | { readonly command: "verify"; readonly request: VerifyRequest }
  );

/** Parses layers such as `0,1,8-11`, counted from 0. */
function parseLayers(value: unknown): number[] {
  const parts = typeof value === "string" ? value.split(",") : [];
  const layers = parts.flatMap((part) => {
    const [, first, last = first] = /^\s*(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(part) ?? [];
    if (first === undefined || Number(first) > Number(last)) return [Number.NaN];
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => Number(first) + i);
  });
  if (layers.length > 0 && !layers.some(Number.isNaN)) return layers;
  throw new UsageError(`--keep takes layers such as 0,1 or 0-2,7, counted from 0; found ${JSON.stringify(value)}.`, {
    code: "bad-arguments",
  });
}

/** Parses the width of a block, or `auto`. */
function parseWindow(value: unknown): number | "auto" {
  if (value === "auto") return "auto";
  if (typeof value === "string" && /^\d{1,5}$/.test(value) && Number(value) <= 65_536) return Number(value);
  throw new UsageError(`--window takes a whole number from 0 to 65536, or auto; found ${JSON.stringify(value)}.`, {
    code: "bad-arguments",
  });
}

/** The longest length to measure the speed at: softmax takes 1 GiB per head there. */
const longestSpeed = 16_384;

/** Parses lengths such as `128,2048`, in tokens. */
const parseLengths =
  (name: string) =>
  (value: unknown): number[] => {
    const parts = typeof value === "string" ? value.split(",") : [];
    const lengths = parts.map((part) => (/^\s*\d{1,5}\s*$/.test(part) ? Number(part) : 0));
    if (lengths.length > 0 && lengths.every((length) => length >= 1 && length <= longestSpeed)) return lengths;
    throw new UsageError(
      `--${name} takes lengths in tokens such as 128,512,2048, each from 1 to ${longestSpeed}; found ${JSON.stringify(value)}.`,
      { code: "bad-arguments" },
    );
  };

/** Which of a checkpoint's files to use. */
const origin = {
  revision: textOf("revision", "a branch, tag or commit", "branch, tag or commit on the Hub [default: main]"),
  file: path("file", "model file to use, relative to the checkpoint"),
  dtype: choice(
    ["fp32", "fp16", "q8", "int8", "uint8", "q4", "q4f16", "bnb4"],
    "precision of the ONNX export to use [default: fp32]",
  ),
} as const;

const sourcePositional = positional("source", "checkpoint folder, .onnx file or Hub id");

/** What to build from weights. `verify` knows it from favor.json. */
const built = {
  task: choice(checkpointTasks, "head of a graph built from weights [default: the checkpoint's own]"),
} as const;

function convertOptions(parser: Argv) {
  return parser.positional("source", sourcePositional).options({
    ...grouped("Output:", {
      output: outputFolder("folder to write"),
      "dry-run": flag("show what would be done, and what it would gain; write nothing"),
      force: flag("replace what favor-convert wrote into an existing folder"),
    }),
    ...grouped("Features:", {
      features: choice(
        ["landmark", ...featureChoices],
        "what replaces softmax [default: landmark with --calibrate, otherwise positive]",
      ),
      "key-factor": choice(keyFactors, "h(k) of generalized attention: exp(|k|^2/2) or exp(-|k|^2/2) [default: 1]"),
      count: wholeNumber("count", "features per head [default: 256]", 1, 65536),
      projection: choice(
        ["orthogonal", "iid", "hadamard", "givens"],
        "rows of the random projections [default: orthogonal]",
      ),
      seed: wholeNumber("seed", "seed of all random numbers [default: 0]", 0, Number.MAX_SAFE_INTEGER),
      seeds: wholeNumber("seeds", "draws of positive features to choose from by calibration [default: 4]", 1, 1024),
      refine: wholeNumber("refine", "gradient-descent steps on the landmarks [default: 0]", 0, 10_000),
    }),
    ...grouped("Exact keys:", {
      window: {
        string: true,
        requiresArg: true,
        describe:
          "width of the blocks of keys that are exact: own and neighbours; auto lets calibration choose, for each layer " +
          "[default: auto with --calibrate, without --count and --chosen-blocks; else 0]",
        coerce: parseWindow,
      },
      "chosen-blocks": wholeNumber(
        "chosen-blocks",
        "further exact blocks for each block of queries [default: 0]",
        0,
        65536,
      ),
    }),
    ...grouped("Data:", {
      calibrate: dataFile("calibrate", "to fit the features to"),
      "calibrate-count": wholeNumber("calibrate-count", "sequences to fit to [default: 200]", 1, 1_000_000),
      evaluate: dataFile("evaluate", "to compare both models on"),
      "evaluate-count": wholeNumber("evaluate-count", "sequences to compare on [default: 500]", 1, 1_000_000),
      column,
      truncate: flag("take the beginnings of sequences that are too long, instead of windows"),
      pooling: choice(poolingModes, "how embeddings are made, to compare them [default: as the checkpoint says]"),
    }),
    ...grouped("Speed:", {
      speed: {
        string: true,
        requiresArg: true,
        describe:
          "measure time and memory of both models at these lengths in tokens, such as 128,512,2048, or none " +
          "[default: two lengths with --evaluate, else none]",
        coerce: (value: unknown) => (value === "none" ? [] : parseLengths("speed")(value)),
      },
    }),
    ...grouped("What stays softmax:", {
      keep: {
        string: true,
        requiresArg: true,
        describe: "layers to keep as softmax: 0,1 or 0-2,7",
        coerce: parseLayers,
      },
      budget: realNumber("budget", "largest loss in points; keep as many layers as it takes", 0, 100),
      cross: flag("also convert cross-attention"),
    }),
    ...grouped("The model:", {
      target: choice(["standard", "onnxruntime", "onnx27"], "whose operators to write [default: standard]"),
      block: wholeNumber("block", "most queries per block of exact attention [default: by the length]", 1, 65_536),
      stateful: flag("pass a causal model's state as inputs and outputs"),
      "max-length": wholeNumber(
        "max-length",
        "grow the position table to this many tokens; data is read in windows of at most as many",
        1,
        1 << 24,
      ),
      growth: choice(["tile", "interpolate"], "how to grow the position table [default: tile]"),
    }),
    ...grouped("The checkpoint:", { ...origin, ...built }),
    threads,
    ...presentation,
  } as const);
}

function adviseOptions(parser: Argv) {
  return parser.positional("source", sourcePositional).options({
    ...grouped("Data:", {
      data: dataFile("data", "to calibrate and measure on, half of it each"),
      column,
      pooling: choice(poolingModes, "how embeddings are made, to compare them [default: as the checkpoint says]"),
    }),
    ...grouped("What counts:", {
      lengths: {
        string: true,
        requiresArg: true,
        describe: "lengths in tokens; the longest decides [default: 512, 2048 and 8192, as far as the model reads]",
        coerce: parseLengths("lengths"),
      },
      budget: realNumber("budget", "largest loss in points at the longest length [default: 1]", 0, 100),
    }),
    ...grouped("The checkpoint:", { ...origin, ...built }),
    threads,
    ...presentation,
  } as const);
}

function verifyOptions(parser: Argv) {
  return parser
    .positional("original", positional("original", "checkpoint that was converted"))
    .positional("converted", positional("converted", "folder that favor-convert wrote"))
    .options({
      ...grouped("Data:", { data: dataFile("data", "to compare both models on"), column }),
      ...grouped("The checkpoint:", origin),
      threads,
      ...presentation,
    } as const);
}

/** What most people need, in the order in which they need it. */
const examples: [command: string, description: string][] = [
  ["# Can its attention be replaced?\n$0 inspect my-model\n ", ""],
  ["# Is it worth it, and how?\n$0 advise my-model --data val.txt\n ", ""],
  ["# Convert it, and measure what that cost:\n$0 my-model -o out --calibrate train.txt --evaluate val.txt\n ", ""],
  ["# Check the result against the original:\n$0 verify my-model out --data val.txt", ""],
];

/**
 * Parses the command line (without the program's name).
 *
 * @throws {UsageError} `bad-arguments`: an unknown option or command, a missing or malformed value.
 */
export async function parseArguments(argv: readonly string[], columns?: number): Promise<Command | HelpText> {
  return parseCommandLine<Command>(argv, { name: "favor-convert", version, columns }, (parser, found) =>
    parser
      .usage("$0 <source> -o <folder>\n\nConverts a Transformer checkpoint to linear attention.")
      .example(examples)
      .command(
        ["$0 <source>", "convert <source>"],
        "convert a checkpoint",
        convertOptions,
        ({ source, json, quiet, ...options }) => {
          const { output, features, count, projection, seed, seeds, refine, keep, budget, cross, target, block } =
            options;
          const { window, chosenBlocks, keyFactor } = options;
          const { stateful, maxLength, growth, speed, calibrate, calibrateCount, evaluate, evaluateCount } = options;
          const {
            column: field,
            truncate,
            pooling,
            threads: cores,
            force,
            dryRun,
            revision,
            file,
            dtype,
            task,
          } = options;
          const given = defined({
            revision,
            file,
            dtype,
            task,
            output,
            features,
            keyFactor,
            count,
            projection,
            seed,
            seeds,
            refine,
            window,
            chosenBlocks,
            keep,
            budget,
            target,
            block,
            maxLength,
            growth,
            calibrate,
            calibrateCount,
            evaluate,
            evaluateCount,
            column: field,
            pooling,
            threads: cores,
            speed: speed ?? (evaluate === undefined || dryRun === true ? undefined : ("auto" as const)),
            truncate,
            force,
            dryRun,
            cross,
            stateful,
          });
          found({ command: "convert", ...defined({ json, quiet }), request: { source, ...given } });
        },
      )
      .command(
        "inspect <source>",
        "list every attention and whether it can be replaced",
        (inspected) =>
          inspected
            .positional("source", sourcePositional)
            .options({ ...grouped("The checkpoint:", { ...origin, ...built }), ...presentation }),
        ({ source, json, quiet, revision, file, dtype, task }) => {
          const options = defined({ revision, file, dtype, task });
          found({ command: "inspect", ...defined({ json, quiet }), source, options });
        },
      )
      .command(
        "advise <source>",
        "measure the ways to convert a checkpoint, and recommend one",
        adviseOptions,
        ({ source, json, quiet, data, column: field, pooling, lengths, budget, threads: cores, ...from }) => {
          const { revision, file, dtype, task } = from;
          const given = { data, column: field, pooling, lengths, budget, threads: cores, revision, file, dtype, task };
          found({ command: "advise", ...defined({ json, quiet }), request: { source, ...defined(given) } });
        },
      )
      .command(
        "verify <original> <converted>",
        "check a converted folder against its original",
        verifyOptions,
        ({ original, converted, json, quiet, data, column: field, threads: cores, revision, file, dtype }) => {
          const given = defined({ data, column: field, threads: cores, revision, file, dtype });
          found({ command: "verify", ...defined({ json, quiet }), request: { original, converted, ...given } });
        },
      )
      .epilogue(
        "Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad input or nothing convertible, 4 verification failed.",
      ),
  );
}
