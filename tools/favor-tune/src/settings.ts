import { TuneUsageError } from "./errors.ts";
import type { BackendChoice, Schedule, TrainedPart, TuneRequest } from "./request.ts";
import type { LearningRate } from "./training/schedule.ts";

/** Settings of one phase. */
export interface PhaseSettings extends LearningRate {
  /** Steps between evaluations. */
  readonly evalEvery: number;
}

/** A request with defaults filled in. */
export interface Settings {
  /** In the order in which they run. */
  readonly stages: readonly ("distill" | "mlm")[];
  readonly distill: PhaseSettings;
  readonly mlm: PhaseSettings;
  readonly batch: number;
  /** Parts in which a step is computed; undefined: as many as memory requires. */
  readonly accumulate: number | undefined;
  readonly seed: number;
  readonly backend: BackendChoice;
  readonly maxLength: number | undefined;
  readonly evalCount: number;
  readonly patience: number | undefined;
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
  mlm: { steps: 80 },
};

/**
 * The learning rate of MLM fine-tuning. Adam moves every weight by about this rate, and the sums over a layer's width grow
 * with the width, so the rate must fall with it (Yang et al. 2022, "Tensor Programs V"). Measured with 80 steps of 4
 * sequences: at a width of 128, 1e-4 gains two points and 2e-5 one; at 512, 1e-4 loses a point and 2e-5 none. At 768 this
 * gives 1.7e-5; BERT is usually fine-tuned with 2e-5 to 5e-5.
 *
 * @param width - heads times their dimension; undefined if not known yet.
 */
function mlmLearningRate(width = 768): number {
  return Math.min(1e-4, 0.0128 / width);
}

/** Performer paper, appendix on experiments: Adam (0.9, 0.98), epsilon 1e-9, learning rate 1e-3, dropout 0.1. */
const paper = { learningRate: 1e-3, epsilon: 1e-9, dropout: 0.1 };

/**
 * Checks a request and fills in defaults.
 *
 * @param width - width of the model, which determines the learning rate of MLM fine-tuning.
 * @throws {TuneUsageError} `bad-arguments` for options that contradict each other.
 */
export function settingsOf(request: TuneRequest, width?: number): Settings {
  const { stage = "both", preset, batch = 16, accumulate, kl = 0, seed = 0, control = false } = request;
  const stages = stage === "both" ? (["distill", "mlm"] as const) : [stage];
  const [distills, tunes] = [stages.includes("distill"), stages.includes("mlm")];
  refuse(
    distills && request.teacher === undefined,
    "Distillation learns from the original: pass its folder with --teacher, or skip distillation with --stage mlm.",
  );
  refuse(
    (kl > 0 || control) && request.teacher === undefined,
    "--kl and --control need the original: pass its folder with --teacher.",
  );
  refuse(!tunes && request.mlmSteps !== undefined, "--mlm-steps needs --stage mlm or both.");
  refuse(!distills && request.distillSteps !== undefined, "--distill-steps needs --stage distill or both.");
  refuse(
    !tunes && (kl > 0 || control || request.redraw === true || request.train !== undefined || preset !== undefined),
    "--kl, --control, --redraw, --train and --preset apply to MLM fine-tuning: they need --stage mlm or both.",
  );
  refuse(
    distills && request.redraw === true,
    "--redraw would replace the projections that distillation learns: use it with --stage mlm.",
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

/** The settings as one flat record, for `favor.json` and checkpoints. */
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
