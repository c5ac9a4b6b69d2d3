import type { Argv } from "yargs";

import { featureChoices } from "@favor/rewriter";

import { column, defined, path, presentation, realNumber, wholeNumber } from "@favor/command-line";
import { parseCommandLine } from "@favor/command-line";
import type { HelpText } from "@favor/command-line";
import type { Presentation } from "@favor/command-line";
import type { ConvertRequest } from "./commands/request.ts";
import type { VerifyRequest } from "./commands/verify.ts";
import { UsageError } from "@favor/checkpoints";
import type { SourceOptions } from "@favor/checkpoints/node";
import { version } from "./versions.ts";

/** What the command line asks for. */
export type Command = Presentation &
  (
    | { readonly command: "convert"; readonly request: ConvertRequest }
    | { readonly command: "inspect"; readonly source: string; readonly options: SourceOptions }
    | { readonly command: "verify"; readonly request: VerifyRequest }
  );

/** Layers as `0,1,8-11`, counted from 0. */
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

/** Which of a checkpoint's files. */
const origin = {
  revision: { string: true, describe: "branch, tag or commit at the Hub [default: main]" },
  file: { string: true, describe: "the model's file in the checkpoint" },
  dtype: {
    choices: ["fp32", "fp16", "q8", "int8", "uint8", "q4", "q4f16", "bnb4"],
    describe: "precision of the ONNX export [default: fp32]",
  },
} as const;

function convertOptions(parser: Argv) {
  return parser
    .positional("source", { type: "string", demandOption: true, describe: "checkpoint folder, .onnx file or Hub id" })
    .options({
      ...origin,
      output: { ...path("output", "folder to write"), alias: "o" },
      features: {
        choices: ["landmark", ...featureChoices],
        describe: "what replaces softmax [default: landmark with --calibrate, else positive]",
      },
      count: wholeNumber("count", "features a head [default: 256]", 1, 65536),
      projection: {
        choices: ["orthogonal", "iid", "hadamard", "givens"],
        describe: "rows of the random projection [default: orthogonal]",
      },
      seed: wholeNumber("seed", "of everything drawn at random [default: 0]", 0, Number.MAX_SAFE_INTEGER),
      seeds: wholeNumber("seeds", "draws of calibrated positive features, the best stays [default: 4]", 1, 1024),
      refine: wholeNumber("refine", "steps of gradient descent on landmarks [default: 0]", 0, 10_000),
      calibrate: path("calibrate", "FASTA, text, JSON Lines or Parquet to fit the features to"),
      "calibrate-count": wholeNumber("calibrate-count", "sequences of it [default: 200]", 1, 1_000_000),
      evaluate: path("evaluate", "FASTA, text, JSON Lines or Parquet to compare both models on"),
      "evaluate-count": wholeNumber("evaluate-count", "sequences of it [default: 500]", 1, 1_000_000),
      column,
      truncate: { type: "boolean", default: false, describe: "cut sequences that are too long" },
      keep: { string: true, describe: "layers that stay softmax: 0,1 or 0-2,7", coerce: parseLayers },
      budget: realNumber("budget", "points that may be lost: layers stay softmax until it holds", 0, 100),
      cross: { type: "boolean", default: false, describe: "also convert cross-attention" },
      target: {
        choices: ["standard", "onnxruntime", "onnx27"],
        describe: "operators of causal attention [default: standard]",
      },
      stateful: { type: "boolean", default: false, describe: "a causal model takes and gives its state" },
      "max-length": wholeNumber("max-length", "grow the position table to this many tokens", 1, 1 << 24),
      growth: { choices: ["tile", "interpolate"], describe: "how it grows [default: tile]" },
      threads: wholeNumber("threads", "of onnxruntime [default: every core]", 1, 1024),
      "dry-run": { type: "boolean", default: false, describe: "show what would be done, write nothing" },
      force: { type: "boolean", default: false, describe: "replace a folder that favor-convert wrote" },
      ...presentation,
    } as const);
}

function verifyOptions(parser: Argv) {
  return parser
    .positional("original", { type: "string", demandOption: true, describe: "the checkpoint that was converted" })
    .positional("converted", { type: "string", demandOption: true, describe: "the folder that was written" })
    .options({
      ...origin,
      data: path("data", "FASTA, text, JSON Lines or Parquet to compare both models on"),
      column,
      threads: wholeNumber("threads", "of onnxruntime [default: every core]", 1, 1024),
      ...presentation,
    } as const);
}

/**
 * Parses the command line (without the program's name).
 *
 * @throws {UsageError} `bad-arguments`: an unknown option or command, a missing or malformed value.
 */
export async function parseArguments(argv: readonly string[]): Promise<Command | HelpText> {
  return parseCommandLine<Command>(argv, { name: "favor-convert", version }, (parser, found) =>
    parser
      .usage("$0 <source> -o <dir>\n\nConverts a Transformer checkpoint to linear attention.")
      .command(
        ["$0 <source>", "convert <source>"],
        "convert a checkpoint",
        convertOptions,
        ({ source, json, quiet, ...options }) => {
          const { output, features, count, projection, seed, seeds, refine, keep, budget, cross, target } = options;
          const { stateful, maxLength, growth, calibrate, calibrateCount, evaluate, evaluateCount } = options;
          const { column: field, truncate, threads, force, dryRun, revision, file, dtype } = options;
          const given = defined({
            revision,
            file,
            dtype,
            output,
            features,
            count,
            projection,
            seed,
            seeds,
            refine,
            keep,
            budget,
            target,
            maxLength,
            growth,
            calibrate,
            calibrateCount,
            evaluate,
            evaluateCount,
            column: field,
            threads,
          });
          const request = { source, truncate, force, dryRun, cross, stateful, ...given };
          found({ command: "convert", json, quiet, request });
        },
      )
      .command(
        "inspect <source>",
        "list every attention: may it be replaced, and why not",
        (inspected) =>
          inspected
            .positional("source", {
              type: "string",
              demandOption: true,
              describe: "checkpoint folder, .onnx file or Hub id",
            })
            .options({ ...origin, ...presentation }),
        ({ source, json, quiet, revision, file, dtype }) => {
          found({ command: "inspect", json, quiet, source, options: defined({ revision, file, dtype }) });
        },
      )
      .command(
        "verify <original> <converted>",
        "check a converted folder against its original",
        verifyOptions,
        ({ original, converted, json, quiet, data, column: field, threads, revision, file, dtype }) => {
          const given = defined({ data, column: field, threads, revision, file, dtype });
          found({ command: "verify", json, quiet, request: { original, converted, ...given } });
        },
      )
      .epilogue(
        "Exit codes: 0 done, 1 unexpected, 2 usage, 3 bad input or nothing convertible, 4 verification failed.",
      ),
  );
}
