import yargs from "yargs";

import { TuneUsageError } from "./errors.ts";
import type { TuneRequest } from "./request.ts";
import { version } from "./version.ts";

/** What the command line asks for, and how the answer is given. */
export type Command =
  | { readonly command: "tune"; readonly request: TuneRequest; readonly json: boolean; readonly quiet: boolean }
  /** --help or --version: the text to print. */
  | { readonly command: "text"; readonly text: string };

/** An option that takes a number of a range, whole or not. */
function number(name: string, describe: string, minimum: number, maximum: number, kind: "whole" | "real" = "whole") {
  const coerce = (value: unknown): number | undefined => {
    if (value === undefined) return undefined;
    const isRight =
      typeof value === "number" && (kind === "whole" ? Number.isSafeInteger(value) : !Number.isNaN(value));
    if (isRight && value >= minimum && value <= maximum) return value;
    const found = Number.isNaN(value) ? "something that is no number" : JSON.stringify(value);
    const what = kind === "whole" ? "a whole number" : "a number";
    throw usage(`--${name} takes ${what} from ${minimum} to ${maximum}, found ${found}`);
  };
  return { number: true, describe, coerce } as const;
}

/** An option that takes a path or a name. */
function text(name: string, what: string, describe: string) {
  const coerce = (value: unknown): string | undefined => (value === undefined ? value : some(name, what, value));
  return { string: true, describe, coerce } as const;
}

function some(name: string, what: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw usage(`--${name} takes ${what}, found ${JSON.stringify(value)}`);
}

const steps = 10_000_000;
const options = {
  data: {
    string: true,
    demandOption: true,
    describe: "FASTA, text, JSON Lines or Parquet to train on",
    coerce: (value: unknown): string => some("data", "a path", value),
  },
  output: { ...text("output", "a path", "folder to write [default: <converted>-tuned]"), alias: "o" },
  stage: { choices: ["distill", "mlm", "both"], describe: "what is trained [default: both]" },
  steps: number("steps", "steps of each stage [default: 100 distill, 80 mlm]", 1, steps),
  "distill-steps": number("distill-steps", "steps of distillation", 1, steps),
  "mlm-steps": number("mlm-steps", "steps of MLM fine-tuning", 1, steps),
  batch: number("batch", "sequences a step [default: 16]", 1, 65536),
  "learning-rate": number("learning-rate", "peak [default: 0.01 distill, 0.0001 mlm]", 0, 10, "real"),
  warmup: number("warmup", "steps of warm-up [default: a tenth of the steps]", 0, steps),
  schedule: { choices: ["cosine", "linear", "constant"], describe: "of the learning rate [default: cosine]" },
  "max-length": number("max-length", "cut sequences to this many tokens", 4, 1 << 24),
  seed: number("seed", "of order, masks and dropout [default: 0]", 0, Number.MAX_SAFE_INTEGER),
  backend: { choices: ["auto", "webgpu", "node", "wasm", "cpu"], describe: "where it trains [default: auto]" },
  accumulate: number("accumulate", "parts that a batch is computed in [default: by memory]", 1, 65536),
  "eval-every": number("eval-every", "steps between evaluations [default: a tenth]", 1, steps),
  "eval-data": text("eval-data", "a path", "data to measure on [default: held out of --data]"),
  "eval-count": number("eval-count", "sequences to measure on [default: 200]", 1, 1_000_000),
  patience: number("patience", "evaluations without improvement that end a stage", 1, steps),
  resume: { type: "boolean", default: false, describe: "go on from the last checkpoint of the same run" },
  train: { choices: ["all", "attention", "features"], describe: "weights that MLM changes [default: all]" },
  teacher: text("teacher", "a path", "folder of the original checkpoint"),
  kl: number("kl", "weight of the KL divergence to the teacher in MLM [default: 0]", 0, 1, "real"),
  preset: { choices: ["paper"], describe: "the Performer paper's settings (dropout 0.1)" },
  redraw: { type: "boolean", default: false, describe: "redraw random projections every pass over the data" },
  control: { type: "boolean", default: false, describe: "tune the softmax original alike, beside" },
  column: text("column", "a name", "field of JSON Lines, or column of Parquet, with the text [default: text]"),
  threads: number("threads", "of onnxruntime [default: every core]", 1, 1024),
  force: { type: "boolean", default: false, describe: "replace a folder that favor-tune wrote" },
  json: { type: "boolean", default: false, describe: "print the result as JSON" },
  quiet: { type: "boolean", default: false, describe: "no progress" },
} as const;

/** `object` without the entries that are undefined. */
function defined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/**
 * Parses the command line (without the program's name).
 *
 * @throws {TuneUsageError} `bad-arguments`: an unknown option, a missing or malformed value.
 */
export async function parseArguments(argv: readonly string[]): Promise<Command> {
  let command: Command | undefined;
  let answer = "";
  const parser = yargs([])
    .scriptName("favor-tune")
    .usage("$0 <converted> --data <file>\n\nTrains a converted checkpoint until its accuracy comes back.")
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
        const { column, threads, force } = parsed;
        const request = {
          source,
          data,
          resume,
          redraw,
          control,
          force,
          ...defined({ output, stage, steps: all, distillSteps, mlmSteps, batch, learningRate, warmup, schedule }),
          ...defined({ maxLength, seed, backend, accumulate, evalEvery, evalData, evalCount, patience, train }),
          ...defined({ teacher, kl, preset, column, threads }),
        };
        command = { command: "tune", json, quiet, request };
      },
    )
    .epilogue("Exit codes: 0 done, 1 training or disk failed, 2 usage, 3 bad input, 130 interrupted (resumable).")
    .parserConfiguration({
      "duplicate-arguments-array": false,
      "boolean-negation": false,
      "parse-positional-numbers": false,
    })
    .strict()
    .locale("en")
    .wrap(100)
    .version(version)
    .help()
    .exitProcess(false)
    .fail((message, error) => {
      throw usage(message ?? error.message);
    });
  await parser.parseAsync([...argv], {}, (_error: unknown, _arguments: unknown, output: string) => {
    answer += output;
  });
  return command ?? { command: "text", text: answer };
}

function usage(message: string): TuneUsageError {
  return new TuneUsageError(
    `${message.replace(/\.$/, "").replace(/\. See favor-tune --help$/, "")}. See favor-tune --help.`,
    {
      code: "bad-arguments",
    },
  );
}
