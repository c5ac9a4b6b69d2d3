import { TuneUsageError } from "./errors.ts";
import type { BackendChoice, Schedule, TrainedPart, TuneRequest } from "./request.ts";
import type { LearningRate } from "./training/schedule.ts";

/** How one phase is trained. */
export interface PhaseSettings extends LearningRate {
  /** Steps between evaluations. */
  readonly evalEvery: number;
}

/** A request with its defaults. */
export interface Settings {
  /** In the order in which they run. */
  readonly stages: readonly ("distill" | "mlm")[];
  readonly distill: PhaseSettings;
  readonly mlm: PhaseSettings;
  readonly batch: number;
  /** Parts that a step is computed in; undefined: as many as memory asks for. */
  readonly accumulate: number | undefined;
  readonly seed: number;
  readonly backend: BackendChoice;
  readonly maxLength: number | undefined;
  readonly evalCount: number;
  readonly patience: number | undefined;
  readonly train: TrainedPart;
  readonly kl: number;
  readonly dropout: number;
  /** Of AdamW. */
  readonly epsilon: number;
  readonly decay: number;
  /** Largest global norm of the gradients. */
  readonly clip: number;
  readonly redraw: boolean;
  readonly control: boolean;
}

/**
 * What distillation and MLM do if nothing else is asked for: measured on AntiBERTy, a BERT of 8 layers, and on one of 4. Of
 * the sixth of the 8, 60 steps left calibrated positive features an error of 0.55 where each changed a value by up to 0.01,
 * 0.41 by 0.04 or 0.08, and 0.53 by 0.16; landmarks 0.19 by 0.01, 0.15 by 0.03, and 0.17 by 0.08.
 */
const usual = {
  distill: { steps: 100, learningRate: 0.05 },
  mlm: { steps: 80 },
};

/**
 * The learning rate of MLM: Adam moves every weight by about the rate, and what a layer sums over its width grows with
 * it, so the rate falls with the width (Yang et al. 2022, "Tensor Programs V"). Measured, 80 steps of 4 sequences: 1e-4
 * gains two points at a width of 128 and 2e-5 one; at 512 1e-4 loses a point and 2e-5 none. At 768 it is 1.7e-5, beside
 * the 2e-5 to 5e-5 that BERT is fine-tuned with.
 *
 * @param width - heads times their dimension; undefined: not known yet.
 */
function mlmLearningRate(width = 768): number {
  return Math.min(1e-4, 0.0128 / width);
}

/** Performer paper, appendix on experiments: Adam (0.9, 0.98), epsilon 1e-9, learning rate 1e-3, dropout 0.1. */
const paper = { learningRate: 1e-3, epsilon: 1e-9, dropout: 0.1 };

/**
 * The settings that a request asks for.
 *
 * @param width - of the model, that the learning rate of MLM is chosen by.
 * @throws {TuneUsageError} `bad-arguments` for options that contradict each other.
 */
export function settingsOf(request: TuneRequest, width?: number): Settings {
  const { stage = "both", preset, batch = 16, accumulate, kl = 0, seed = 0, control = false } = request;
  const stages = stage === "both" ? (["distill", "mlm"] as const) : [stage];
  const [distills, tunes] = [stages.includes("distill"), stages.includes("mlm")];
  refuse(
    distills && request.teacher === undefined,
    "Distillation learns from the original: name its folder with --teacher, or leave distillation out with --stage mlm.",
  );
  refuse(
    (kl > 0 || control) && request.teacher === undefined,
    "--kl and --control need the original: name its folder with --teacher.",
  );
  refuse(!tunes && request.mlmSteps !== undefined, "--mlm-steps needs --stage mlm or both.");
  refuse(!distills && request.distillSteps !== undefined, "--distill-steps needs --stage distill or both.");
  refuse(
    !tunes && (kl > 0 || control || request.redraw === true || request.train !== undefined || preset !== undefined),
    "--kl, --control, --redraw, --train and --preset are about MLM fine-tuning: they need --stage mlm or both.",
  );
  refuse(
    distills && request.redraw === true,
    "--redraw draws new random projections, and distillation has them learned: use it with --stage mlm.",
  );
  refuse((accumulate ?? 1) > batch, `--accumulate ${accumulate} cannot split a batch of ${batch} sequences.`);
  return {
    stages,
    distill: phaseOf(request, request.distillSteps ?? request.steps ?? usual.distill.steps, usual.distill.learningRate),
    mlm: phaseOf(
      request,
      request.mlmSteps ?? request.steps ?? usual.mlm.steps,
      preset === "paper" ? paper.learningRate : mlmLearningRate(width),
    ),
    batch,
    accumulate,
    seed,
    backend: request.backend ?? "auto",
    maxLength: request.maxLength,
    evalCount: request.evalCount ?? 200,
    patience: request.patience,
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

function phaseOf(request: TuneRequest, steps: number, learningRate: number): PhaseSettings {
  const schedule: Schedule = request.schedule ?? "cosine";
  const tenth = Math.max(1, Math.ceil(steps / 10));
  return {
    steps,
    peak: request.learningRate ?? learningRate,
    warmup: request.warmup ?? tenth,
    schedule,
    evalEvery: request.evalEvery ?? tenth,
  };
}

/** The settings in one level, as `favor.json` and checkpoints hold them. */
export function flatSettings(settings: Settings): Record<string, string | number | boolean> {
  const { stages, distill, mlm, patience, maxLength, accumulate, ...rest } = settings;
  const phases = Object.fromEntries(
    stages.flatMap((stage) =>
      Object.entries(stage === "distill" ? distill : mlm).map(([key, value]) => [`${stage}.${key}`, value]),
    ),
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
