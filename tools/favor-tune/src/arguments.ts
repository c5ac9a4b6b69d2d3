import {
  choice,
  column,
  defined,
  flag,
  dataFile,
  outputFolder,
  parseCommandLine,
  path,
  presentation,
  realNumber,
  requiredDataFile,
  threads,
  wholeNumber,
} from "@favor/command-line";
import type { HelpText, Presentation } from "@favor/command-line";

import type { TuneRequest } from "./request.ts";
import { version } from "./versions.ts";

/** What the command line asks for, and how the answer is given. */
export interface Command extends Presentation {
  readonly request: TuneRequest;
}

const steps = 10_000_000;
const options = {
  data: requiredDataFile("data", "to train on"),
  output: outputFolder("folder to write [default: <converted>-tuned]"),
  stage: choice(["distill", "mlm", "both"], "stages to train [default: both]"),
  steps: wholeNumber("steps", "steps of each stage [default: 100 distill, 80 mlm]", 1, steps),
  "distill-steps": wholeNumber("distill-steps", "steps of distillation", 1, steps),
  "mlm-steps": wholeNumber("mlm-steps", "steps of MLM fine-tuning", 1, steps),
  batch: wholeNumber("batch", "sequences per step [default: 16]", 1, 65536),
  "learning-rate": realNumber("learning-rate", "peak learning rate [default: 0.05 distill, 0.0128 / width mlm]", 0, 10),
  warmup: wholeNumber("warmup", "steps of warm-up [default: a tenth of the steps]", 0, steps),
  schedule: choice(["cosine", "linear", "constant"], "learning-rate schedule [default: cosine]"),
  "max-length": wholeNumber("max-length", "cut sequences to this many tokens", 4, 1 << 24),
  seed: wholeNumber("seed", "seed of order, masks and dropout [default: 0]", 0, Number.MAX_SAFE_INTEGER),
  backend: choice(["auto", "webgpu", "node", "wasm", "cpu"], "where to train [default: auto]"),
  accumulate: wholeNumber("accumulate", "parts to compute each batch in [default: by memory]", 1, 65536),
  "eval-every": wholeNumber("eval-every", "steps between evaluations [default: a tenth of the steps]", 1, steps),
  "eval-data": dataFile("eval-data", "to measure on [default: a part of --data]"),
  "eval-count": wholeNumber("eval-count", "sequences to measure on [default: 200]", 1, 1_000_000),
  patience: wholeNumber("patience", "evaluations without improvement that end a stage", 1, steps),
  resume: flag("continue from the last checkpoint of the same run"),
  train: choice(["all", "attention", "features"], "weights that MLM fine-tuning changes [default: all]"),
  teacher: path("teacher", "original checkpoint"),
  kl: realNumber("kl", "weight of the KL divergence from the teacher in MLM [default: 0]", 0, 1),
  preset: choice(["paper"], "the Performer paper's settings (dropout 0.1)"),
  redraw: flag("redraw random projections on every pass over the data"),
  control: flag("also tune the softmax original, for comparison"),
  column,
  threads,
  force: flag("replace what favor-tune wrote into an existing folder"),
  ...presentation,
} as const;

/** Every option by name, with what its help says. */
export const optionHelp: Readonly<Record<string, { readonly describe: string }>> = options;

/**
 * Parses the command line (without the program's name).
 *
 * @throws {UsageError} `bad-arguments`: an unknown option, a missing or malformed value.
 */
export async function parseArguments(argv: readonly string[]): Promise<Command | HelpText> {
  return parseCommandLine<Command>(argv, { name: "favor-tune", version }, (parser, found) =>
    parser
      .usage("$0 <converted> --data <file>\n\nTrains a converted checkpoint to recover its accuracy.")
      .command(
        "$0 <converted>",
        false,
        (tuned) =>
          tuned
            .positional("converted", {
              type: "string",
              demandOption: true,
              describe: "folder that favor-convert wrote",
            })
            .options(options),
        (parsed) => {
          const { converted: source, json, quiet, data, output, stage, steps: all, distillSteps, mlmSteps } = parsed;
          const { batch, learningRate, warmup, schedule, maxLength, seed, backend, accumulate, evalEvery } = parsed;
          const { evalData, evalCount, patience, resume, train, teacher, kl, preset, redraw, control } = parsed;
          const { column: field, threads: cores, force } = parsed;
          const request = {
            source,
            data,
            resume,
            redraw,
            control,
            force,
            ...defined({ output, stage, steps: all, distillSteps, mlmSteps, batch, learningRate, warmup, schedule }),
            ...defined({ maxLength, seed, backend, accumulate, evalEvery, evalData, evalCount, patience, train }),
            ...defined({ teacher, kl, preset, column: field, threads: cores }),
          };
          found({ json, quiet, request });
        },
      )
      .epilogue(
        "Exit codes: 0 done, 1 training or disk failed, 2 usage, 3 bad input, 129, 130, 143 interrupted (resumable).",
      ),
  );
}
