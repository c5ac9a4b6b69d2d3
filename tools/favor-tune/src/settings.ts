import type { Measure } from "@favor/measure";

import { TuneInputError, TuneUsageError } from "./errors.ts";
import { stageNames } from "./request.ts";
import type { BackendChoice, Schedule, Stage, TrainedPart, TuneRequest } from "./request.ts";
import type { LearningRate } from "./training/schedule.ts";

/** Settings of one phase. */
export interface PhaseSettings extends LearningRate {
  /** Steps between evaluations. */
  readonly evalEvery: number;
}

/** A request with defaults filled in. */
export interface Settings {
  /** In the order in which they run. */
  readonly stages: readonly Stage[];
  readonly distill: PhaseSettings;
  readonly align: PhaseSettings;
  readonly mlm: PhaseSettings;
  readonly batch: number;
  /** Parts in which a step is computed; undefined: as many as memory requires. */
  readonly accumulate: number | undefined;
  readonly seed: number;
  readonly backend: BackendChoice;
  readonly maxLength: number | undefined;
  /** What becomes of longer sequences. */
  readonly longer: "windows" | "cut";
  /** Whether sequences are packed into windows of that length. */
  readonly pack: boolean;
  readonly evalCount: number;
  readonly patience: number | undefined;
  /** Which weights a stage ends with. */
  readonly weights: "best" | "last";
  readonly train: TrainedPart;
  readonly kl: number;
  readonly dropout: number;
  /** Epsilon of AdamW. */
  readonly epsilon: number;
  readonly decay: number;
  /** Largest global norm of the gradients. */
  readonly clip: number;
  readonly redraw: boolean;
  readonly control: boolean;
}

/**
 * Default settings, chosen by measurements on AntiBERTy, a BERT of 8 layers, and on a BERT of 4. In the sixth layer of the
 * 8, 60 steps of distillation left calibrated positive features with an error of 0.55 at a learning rate of 0.01, 0.41 at
 * 0.04 or 0.08, and 0.53 at 0.16; landmarks with 0.19 at 0.01, 0.15 at 0.03, and 0.17 at 0.08.
 */
const usual = {
  distill: { steps: 100, learningRate: 0.05 },
  align: { steps: 200 },
  mlm: { steps: 80 },
};

/**
 * The learning rate of MLM fine-tuning and alignment. Adam moves every weight by about this rate, and the sums over a layer's width grow
 * with the width, so the rate must fall with it (Yang et al. 2022, "Tensor Programs V"). Measured with 80 steps of 4
 * sequences: at a width of 128, 1e-4 gains two points and 2e-5 one; at 512, 1e-4 loses a point and 2e-5 none. At 768 this
 * gives 1.7e-5; BERT is usually fine-tuned with 2e-5 to 5e-5. Alignment has the same: four times as much made MiniLM, which
 * was nearly exact, worse in 13 steps.
 *
 * @param width - heads times their dimension; undefined if not known yet.
 */
function mlmLearningRate(width = 768): number {
  return Math.min(1e-4, 0.0128 / width);
}

/** Performer paper, appendix on experiments: Adam (0.9, 0.98), epsilon 1e-9, learning rate 1e-3, dropout 0.1. */
const paper = { learningRate: 1e-3, epsilon: 1e-9, dropout: 0.1 };

/** What is known of the model, once it was opened. */
export interface TunedModel {
  /** Heads times their dimension, which determines learning rates. */
  readonly width: number;
  /** What it is measured by, which determines the stages. */
  readonly kind: Measure["kind"];
}

/**
 * Checks a request and fills in defaults.
 *
 * @param model - undefined if it was not opened yet: then only what is wrong for every model is refused.
 * @throws {TuneUsageError} `bad-arguments` for options that contradict each other, or the model.
 * @throws {TuneInputError} `not-masked-language` for the stage mlm of another model.
 */
export function settingsOf(request: TuneRequest, model?: TunedModel): Settings {
  const { preset, batch = 16, accumulate, kl = 0, seed = 0, control = false } = request;
  const width = model?.width;
  const stages = stagesOf(request, model?.kind);
  // Without a model, the default may be any of the stages.
  const isOpen = request.stage === undefined && model === undefined;
  const has = (stage: Stage): boolean => isOpen || stages.includes(stage);
  const [distills, aligns, tunes] = stageNames.map(has);
  refuse(
    (stages.includes("distill") || stages.includes("align")) && request.teacher === undefined,
    "Distillation and alignment learn from the original: pass its folder with --teacher, or train on masked tokens alone " +
      "with --stage mlm.",
  );
  refuse(
    (kl > 0 || control) && request.teacher === undefined,
    "--kl and --control need the original: pass its folder with --teacher.",
  );
  refuse(!tunes && request.mlmSteps !== undefined, "--mlm-steps needs the stage mlm (--stage).");
  refuse(!aligns && request.alignSteps !== undefined, "--align-steps needs the stage align (--stage).");
  refuse(!distills && request.distillSteps !== undefined, "--distill-steps needs the stage distill (--stage).");
  refuse(
    !distills && request.distillLearningRate !== undefined,
    "--distill-learning-rate needs the stage distill (--stage).",
  );
  refuse(
    stages.join() === "distill" && request.distillLearningRate !== undefined && request.learningRate !== undefined,
    "Without other stages, --learning-rate and --distill-learning-rate are the same: give one of them.",
  );
  refuse(
    !tunes && (kl > 0 || control || request.redraw === true || preset !== undefined),
    "--kl, --control, --redraw and --preset apply to MLM fine-tuning: they need the stage mlm (--stage), and a model that " +
      "predicts masked tokens.",
  );
  refuse(
    !tunes && !aligns && request.train !== undefined,
    "--train applies to alignment and MLM fine-tuning: it needs the stage align or mlm (--stage).",
  );
  refuse(
    (stages.includes("distill") || stages.includes("align")) && request.redraw === true,
    "--redraw would replace the projections that distillation and alignment learn: use it with --stage mlm.",
  );
  refuse(
    request.pack === true && request.truncate === true,
    "--pack goes on in the next window where a sequence is too long, and --truncate leaves out the rest: give one of them.",
  );
  refuse((accumulate ?? 1) > batch, `--accumulate ${accumulate} cannot split a batch of ${batch} sequences.`);
  return {
    stages,
    distill: phaseOf(
      request,
      request.distillSteps ?? request.steps ?? usual.distill.steps,
      // Its unit is another: a rate for alignment would freeze distillation.
      request.distillLearningRate ??
        (stages.join() === "distill" ? request.learningRate : undefined) ??
        usual.distill.learningRate,
    ),
    align: phaseOf(
      request,
      request.alignSteps ?? request.steps ?? usual.align.steps,
      request.learningRate ?? mlmLearningRate(width),
    ),
    mlm: phaseOf(
      request,
      request.mlmSteps ?? request.steps ?? usual.mlm.steps,
      request.learningRate ?? (preset === "paper" ? paper.learningRate : mlmLearningRate(width)),
    ),
    batch,
    accumulate,
    seed,
    backend: request.backend ?? "auto",
    maxLength: request.maxLength,
    longer: request.truncate === true ? "cut" : "windows",
    pack: request.pack ?? false,
    evalCount: request.evalCount ?? 200,
    patience: request.patience,
    weights: request.weights ?? "best",
    train: request.train ?? "all",
    kl,
    dropout: preset === "paper" ? paper.dropout : 0,
    epsilon: preset === "paper" ? paper.epsilon : 1e-8,
    decay: 0.1,
    clip: 0.5,
    redraw: request.redraw ?? false,
    control,
  };
}

/** The stages of a request; by default those of the model's kind. */
function stagesOf({ stage }: TuneRequest, kind: Measure["kind"] = "masked-language"): readonly Stage[] {
  if (stage === undefined) return kind === "masked-language" ? ["distill", "mlm"] : ["distill", "align"];
  const stages: readonly Stage[] = stage === "both" ? ["distill", "mlm"] : [stage].flat();
  const inOrder = stageNames.filter((name) => stages.includes(name));
  refuse(
    stages.length === 0 || stages.join() !== inOrder.join(),
    `--stage takes one or several of ${stageNames.join(", ")}, in this order, each once; found "${stages.join(",")}".`,
  );
  if (!stages.includes("mlm") || kind === "masked-language") return stages;
  throw new TuneInputError(
    "The stage mlm trains on masked tokens, and this model does not predict any: train it with --stage distill,align. To " +
      "fine-tune it on masked tokens, convert a checkpoint that still has its language-model head, and whose tokenizer has a " +
      "mask token.",
    { code: "not-masked-language", details: { kind } },
  );
}

/** The steps of all stages before one, where its curve begins. */
export function stepsBefore(stage: Stage, settings: Settings): number {
  const { stages } = settings;
  return stages.slice(0, stages.indexOf(stage)).reduce((sum, name) => sum + settings[name].steps, 0);
}

function phaseOf(request: TuneRequest, steps: number, peak: number): PhaseSettings {
  const schedule: Schedule = request.schedule ?? "cosine";
  const tenth = Math.max(1, Math.ceil(steps / 10));
  return {
    steps,
    peak,
    warmup: request.warmup ?? tenth,
    schedule,
    evalEvery: request.evalEvery ?? tenth,
  };
}

/** The settings as one flat record, for `favor.json` and checkpoints. */
export function flatSettings(settings: Settings): Record<string, string | number | boolean> {
  const { stages, distill, align, mlm, patience, maxLength, accumulate, ...rest } = settings;
  const of = { distill, align, mlm };
  const phases = Object.fromEntries(
    stages.flatMap((stage) => Object.entries(of[stage]).map(([key, value]) => [`${stage}.${key}`, value])),
  );
  return {
    stage: stages.join("+"),
    ...phases,
    ...rest,
    ...(accumulate !== undefined && { accumulate }),
    ...(patience !== undefined && { patience }),
    ...(maxLength !== undefined && { maxLength }),
  };
}

function refuse(condition: boolean, message: string): void {
  if (condition) throw new TuneUsageError(message, { code: "bad-arguments" });
}
