import {
  choice,
  column,
  defined,
  flag,
  grouped,
  dataFile,
  outputFolder,
  parseCommandLine,
  path,
  positional,
  presentation,
  realNumber,
  requiredDataFile,
  threads,
  wholeNumber,
} from "@favor/command-line";
import type { HelpText, Presentation } from "@favor/command-line";

import { UsageError } from "@favor/checkpoints";
import { poolingModes } from "@favor/checkpoints/node";

import { stageNames } from "./request.ts";
import type { Stage, TuneRequest } from "./request.ts";
import { version } from "./versions.ts";

/** What the command line asks for, and how the answer is given. */
export interface Command extends Presentation {
  readonly request: TuneRequest;
}

/** Parses stages such as `distill,align`, or `both`. */
function parseStages(value: unknown): "both" | readonly Stage[] {
  if (value === "both") return value;
  const names = typeof value === "string" ? value.split(",").map((name) => name.trim()) : [];
  if (names.length > 0 && names.every((name): name is Stage => stageNames.some((stage) => stage === name)))
    return names;
  throw new UsageError(`--stage takes one or several of ${stageNames.join(",")}; found ${JSON.stringify(value)}.`, {
    code: "bad-arguments",
  });
}

const steps = 10_000_000;
/** The settings of {@link TuneRequest}, each by its name there, but with hyphens. */
const settings = {
  ...grouped("The run:", {
    data: requiredDataFile("data", "to train on"),
    teacher: path("teacher", "the checkpoint that was converted"),
    output: outputFolder("folder to write [default: <converted>-tuned]"),
    resume: flag("continue from the last checkpoint of the same run"),
    force: flag("replace what favor-tune wrote into an existing folder"),
  }),
  ...grouped("Training:", {
    stage: {
      string: true,
      requiresArg: true,
      describe:
        "what to train: one or several of distill,align,mlm [default: distill,mlm for a masked language model, else " +
        "distill,align]",
      coerce: parseStages,
    },
    steps: wholeNumber("steps", "steps of each stage [default: 100 distill, 200 align, 80 mlm]", 1, steps),
    "distill-steps": wholeNumber("distill-steps", "steps of distillation", 1, steps),
    "align-steps": wholeNumber("align-steps", "steps of alignment", 1, steps),
    "mlm-steps": wholeNumber("mlm-steps", "steps of MLM fine-tuning", 1, steps),
    batch: wholeNumber("batch", "sequences per step [default: 16]", 1, 65536),
    accumulate: wholeNumber("accumulate", "parts to compute each batch in [default: by memory]", 1, 65536),
    "learning-rate": realNumber(
      "learning-rate",
      "peak learning rate of align and mlm [default: 0.0128 / width]; without them, of distill",
      0,
      10,
    ),
    "distill-learning-rate": realNumber(
      "distill-learning-rate",
      "that of distill, in multiples of a tensor's size [default: 0.05]",
      0,
      10,
    ),
    warmup: wholeNumber("warmup", "steps of warm-up [default: a tenth of the steps]", 0, steps),
    schedule: choice(["cosine", "linear", "constant"], "learning-rate schedule [default: cosine]"),
    seed: wholeNumber("seed", "seed of order, masks and dropout [default: 0]", 0, Number.MAX_SAFE_INTEGER),
    weights: choice(["best", "last"], "weights that each stage ends with [default: best]"),
    patience: wholeNumber("patience", "evaluations without improvement that end a stage", 1, steps),
  }),
  ...grouped("Alignment and MLM fine-tuning:", {
    train: choice(["all", "attention", "features"], "weights that they change [default: all]"),
    pooling: choice(
      poolingModes,
      "how embeddings are made, to align and measure them [default: as the checkpoint says]",
    ),
  }),
  ...grouped("MLM fine-tuning:", {
    kl: realNumber("kl", "weight of the KL divergence from the teacher [default: 0]", 0, 1),
    preset: choice(["paper"], "the Performer paper's settings (dropout 0.1)"),
    redraw: flag("redraw random projections on every pass over the data"),
    control: flag("also tune the softmax original, for comparison"),
  }),
  ...grouped("Data:", {
    "max-length": wholeNumber("max-length", "longest sequence in tokens; longer ones give windows", 4, 1 << 24),
    truncate: flag("take the beginnings of sequences that are too long, instead of windows"),
    pack: flag("fill windows of the longest length with sequences, one after the other"),
    "eval-data": dataFile("eval-data", "to measure on [default: a part of --data]"),
    "eval-count": wholeNumber("eval-count", "sequences to measure on [default: 200]", 1, 1_000_000),
    "eval-every": wholeNumber("eval-every", "steps between evaluations [default: a tenth of the steps]", 1, steps),
    column,
  }),
  backend: choice(["auto", "webgpu", "node", "wasm", "cpu"], "where to train [default: auto]"),
  threads,
} as const;
const options = { ...settings, ...presentation } as const;

/** Every option by name, with what its help says. */
export const optionHelp: Readonly<Record<string, { readonly describe: string }>> = options;

type InCamelCase<Name> = Name extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<InCamelCase<Tail>>}` : Name;
type SettingName = InCamelCase<keyof typeof settings>;
type Settings = Omit<TuneRequest, "source">;

/** The settings among what yargs parsed, which has every name twice, with hyphens and in camel case. */
function settingsOf(parsed: { readonly [Name in keyof Settings]-?: Settings[Name] | undefined }): Settings {
  const names = Object.keys(settings).map(
    (name) => name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase()) as SettingName,
  );
  return defined(Object.fromEntries(names.map((name) => [name, parsed[name]]))) as unknown as Settings;
}

/** What most people need. */
const examples: [command: string, description: string][] = [
  ["# Train back what the conversion lost:\n$0 my-linear --data train.txt --teacher my-model\n ", ""],
  [
    "# Train the attention alone, for a start:\n$0 my-linear --data train.txt --teacher my-model --stage distill\n ",
    "",
  ],
  [
    "# Bring an embedding model's vectors back to the original's:\n" +
      "$0 my-linear --data texts.txt --teacher my-model --stage distill,align\n ",
    "",
  ],
  ["# Go on after an interruption:\n$0 my-linear --data train.txt --teacher my-model --resume", ""],
];

/**
 * Parses the command line (without the program's name).
 *
 * @throws {UsageError} `bad-arguments`: an unknown option, a missing or malformed value.
 */
export async function parseArguments(argv: readonly string[], columns?: number): Promise<Command | HelpText> {
  return parseCommandLine<Command>(argv, { name: "favor-tune", version, columns }, (parser, found) =>
    parser
      .usage("$0 <converted> --data <file>\n\nTrains a converted checkpoint to recover its accuracy.")
      .example(examples)
      .command(
        "$0 <converted>",
        false,
        (tuned) =>
          tuned.positional("converted", positional("converted", "folder that favor-convert wrote")).options(options),
        (parsed) => {
          const { converted: source, json, quiet } = parsed;
          const request = { source, ...settingsOf(parsed) };
          found({ ...defined({ json, quiet }), request });
        },
      )
      .epilogue(
        "Exit codes: 0 done, 1 training or disk failed, 2 usage, 3 bad input, 129, 130, 143 interrupted (resumable).",
      ),
  );
}
