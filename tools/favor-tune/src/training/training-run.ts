import { rm } from "node:fs/promises";
import { join } from "node:path";

import { writeModel } from "@favor/onnx/node";
import type { Progress } from "@favor/checkpoints";
import type { StopSignal } from "@favor/checkpoints/node";
import type { SequenceTokenizer } from "@favor/measure/tokens";

import type { OpenedBackend } from "../backends/backend.ts";
import type { Checkpoint, CheckpointStore, RunState } from "../checkpoint/checkpoint-store.ts";
import type { ScannedData } from "../data/scan.ts";
import { batchesFrom, start } from "../data/training-data.ts";
import type { DataBatch } from "../data/training-data.ts";
import { StoppedError } from "../errors.ts";
import type { Measurements } from "../measure/measurements.ts";
import { withWeights } from "../model/with-weights.ts";
import type { Settings } from "../settings.ts";
import { notFinite, trainingFault } from "./faults.ts";
import type { TrainingLog } from "./log.ts";
import { Pace } from "./pace.ts";
import type { Phase } from "./phase.ts";
import { learningRateAt } from "./schedule.ts";
import type { NamedTensors, TrainingStage } from "./stage.ts";

/** Longest time between checkpoints, in seconds. */
const checkpointEvery = 60;

export interface TrainingRunOptions {
  readonly phases: readonly Phase[];
  readonly settings: Settings;
  readonly data: ScannedData;
  readonly tokenizer: SequenceTokenizer;
  readonly maximumTokens: number | undefined;
  readonly measurements: Measurements;
  readonly backend: OpenedBackend;
  /** Folder of the checkpoints and temporary files. */
  readonly folder: string;
  readonly store: CheckpointStore;
  readonly log: TrainingLog;
  readonly progress: Progress;
  /** Called after each step: the signal that the process received, if any. */
  readonly stopping: () => StopSignal | undefined;
}

/**
 * Trains the phases one after the other, starting from a checkpoint. Everything that later steps depend on is in its state
 * and tensors, so that an interrupted and resumed run gives the same numbers.
 */
export class TrainingRun {
  readonly #options: TrainingRunOptions;
  #state: RunState;
  /** Weights of finished phases by target, and the best weights of the current phase. */
  readonly #weights: Record<"model" | "control" | "best", Map<string, Float32Array>>;
  #stageState: NamedTensors | undefined;
  #written = performance.now();

  /** @param checkpoint - where to continue, or an initial state without tensors. */
  constructor(checkpoint: Checkpoint, options: TrainingRunOptions) {
    this.#options = options;
    this.#state = checkpoint.state;
    const under = (prefix: string): Map<string, Float32Array> =>
      new Map(
        [...checkpoint.tensors].flatMap(([name, values]) =>
          name.startsWith(prefix) ? [[name.slice(prefix.length), values] as const] : [],
        ),
      );
    this.#weights = { model: under("model/"), control: under("control/"), best: under("best/") };
    this.#stageState = checkpoint.state.step === 0 ? undefined : under("stage/");
  }

  get state(): RunState {
    return this.#state;
  }

  /** The trained weights of a target. */
  weights(target: "model" | "control"): NamedTensors {
    return this.#weights[target];
  }

  /**
   * Trains all remaining phases.
   *
   * @throws {TrainingError} `loss-not-finite`, `out-of-memory`, `device-lost`, `checkpoint-unwritable`; {StoppedError};
   * {InputError} `data-malformed` if the tokenizer cannot read a record.
   */
  async train(): Promise<void> {
    for (let phase = this.#phase; phase !== undefined; phase = this.#phase) await this.#trainPhase(phase);
  }

  get #phase(): Phase | undefined {
    return this.#options.phases[this.#state.phase];
  }

  async #trainPhase(phase: Phase): Promise<void> {
    const { progress, settings } = this.#options;
    const { steps } = phase.settings;
    progress.stage(`Training: ${phase.name}, ${steps} steps of ${settings.batch} sequences`);
    const stage = await phase.open(withWeights(phase.base, this.#weights[phase.target]));
    try {
      if (this.#stageState !== undefined) await stage.restore(this.#stageState);
      this.#stageState = undefined;
      const pace = new Pace(steps - this.#state.step);
      const batches = this.#batches(phase);
      try {
        let isOver = this.#state.step >= steps;
        while (!isOver) isOver = await this.#step(phase, stage, batches, pace);
      } finally {
        await batches.return(undefined as never);
      }
      await this.#finish(phase, stage);
    } catch (error) {
      // A backend that is out of memory may fail again while freeing; that must not hide the first error.
      await disposed(stage).catch(() => undefined);
      throw error;
    }
    await stage.dispose();
  }

  #batches({ firstEpoch }: Phase): AsyncGenerator<DataBatch, never> {
    const { data, settings, tokenizer, maximumTokens } = this.#options;
    const from = this.#state.position ?? { ...start, epoch: firstEpoch };
    return batchesFrom(from, data, { ...settings, tokenizer, maximumTokens });
  }

  /** Makes one step, with its evaluation, log and checkpoint. @returns whether the phase is over. */
  async #step(
    phase: Phase,
    stage: TrainingStage,
    batches: AsyncGenerator<DataBatch, never>,
    pace: Pace,
  ): Promise<boolean> {
    const { backend, data, log, progress } = this.#options;
    const { step } = this.#state;
    const { steps, evalEvery } = phase.settings;
    const { sequences, epoch, next } = (await batches.next()).value;
    const learningRate = learningRateAt(step, phase.settings);
    const began = performance.now();
    const result = await guarded(step, data.path, sequences, async () => {
      const found = await stage.step({ step, epoch: epoch - phase.firstEpoch, sequences }, learningRate);
      const fault = backend.fault();
      if (fault !== undefined) throw fault;
      return found;
    });
    const seconds = (performance.now() - began) / 1000;
    const done = step + 1;
    this.#state = { ...this.#state, step: done, position: next, seconds: this.#state.seconds + seconds };
    const { loss, accuracy, tokens } = result;
    pace.add(tokens, seconds);
    for (const line of pace.report(phase.name, done, steps, loss, accuracy)) progress.note(line);
    const isDue = done % evalEvery === 0 || done === steps;
    const heldOut = isDue ? await this.#evaluate(phase, stage) : undefined;
    await log.append({ stage: phase.name, step: done, loss, accuracy, learningRate, tokens, seconds, heldOut });
    const { patience } = this.#options.settings;
    const isOver = done === steps || (patience !== undefined && (this.#state.best?.since ?? 0) >= patience);
    const signal = this.#options.stopping();
    const isLong = performance.now() - this.#written > checkpointEvery * 1000;
    // The end of a phase writes its own checkpoint.
    if (!isOver && (heldOut !== undefined || signal !== undefined || isLong)) await this.#checkpoint(stage);
    if (!isOver && signal !== undefined) throw stopped(signal, phase, done);
    return isOver;
  }

  /** The best measurement of a phase so far. A phase begins with what the model is before it. */
  #best({ target }: Phase): NonNullable<RunState["best"]> {
    const { before, original } = this.#options.measurements;
    return this.#state.best ?? { ...(target === "model" ? before : original!), step: 0, since: 0 };
  }

  /** Measures the current model on the validation data in onnxruntime, and adds it to the curve. */
  async #evaluate(phase: Phase, stage: TrainingStage): Promise<number> {
    const { measurements, folder, progress } = this.#options;
    const weights = new Map([...this.#weights[phase.target], ...(await stage.weights())]);
    const path = join(folder, "evaluated.onnx");
    await writeModel(withWeights(phase.base, weights), path);
    const { value, score } = await measurements.validate(path);
    await rm(path, { force: true });
    const { step } = this.#state;
    const best = this.#best(phase);
    const isBest = score > best.score;
    if (isBest && this.#options.settings.weights === "best") this.#weights.best = weights;
    const point = { step: phase.offset + step, value };
    const name = phase.target === "model" ? "curve" : "controlCurve";
    this.#state = {
      ...this.#state,
      [name]: [...this.#state[name], point],
      best: isBest ? { step, value, score, since: 0 } : { ...best, since: best.since + 1 },
      last: { value, score },
    };
    progress.note(`${phase.name} ${step}: held-out ${measurements.curveOf} ${percent(value)}`);
    return value;
  }

  /** Keeps the best weights, which may be those from before the phase, or the last. */
  async #finish(phase: Phase, stage: TrainingStage): Promise<void> {
    const { settings, progress, measurements } = this.#options;
    const { step, seconds, last } = this.#state;
    const best = this.#best(phase);
    const usesBest = settings.weights === "best";
    const weights = usesBest ? this.#weights.best : await stage.weights();
    if (usesBest) for (const line of choiceOf(phase.name, step, best, measurements.curveOf)) progress.note(line);
    for (const [name, values] of weights) this.#weights[phase.target].set(name, values);
    this.#weights.best = new Map();
    const { peak: learningRate } = phase.settings;
    const sites = await phase.compare?.(withWeights(phase.base, this.#weights[phase.target]));
    const finished = {
      name: phase.name,
      steps: step,
      kept: usesBest ? best.step : step,
      learningRate,
      seconds,
      ...(sites !== undefined && { sites }),
    };
    const goesOn = this.#options.phases[this.#state.phase + 1]?.target === phase.target;
    this.#state = {
      ...this.#state,
      phase: this.#state.phase + 1,
      step: 0,
      position: null,
      seconds: 0,
      best: goesOn ? { ...(usesBest ? best : last!), step: 0, since: 0 } : null,
      last: null,
      finished: [...this.#state.finished, finished],
    };
    await this.#checkpoint(undefined);
    const signal = this.#options.stopping();
    if (signal !== undefined && this.#phase !== undefined) throw stopped(signal, phase, step);
  }

  async #checkpoint(stage: TrainingStage | undefined): Promise<void> {
    const tensors = new Map<string, Float32Array>();
    const add = (prefix: string, from: NamedTensors): void => {
      for (const [name, values] of from) tensors.set(`${prefix}/${name}`, values);
    };
    for (const [name, weights] of Object.entries(this.#weights)) add(name, weights);
    if (stage !== undefined) add("stage", await stage.state());
    this.#state = { ...this.#state, logLength: this.#options.log.length };
    await this.#options.store.write({ state: this.#state, tensors });
    this.#written = performance.now();
  }
}

/** Says which weights a phase ends with, if not the last. */
function choiceOf(name: string, steps: number, best: NonNullable<RunState["best"]>, curveOf: string): string[] {
  const { step, value } = best;
  if (step === steps) return [];
  if (step > 0) return [`${name}: the weights of step ${step} are kept, the best (${curveOf} ${percent(value)}).`];
  return [
    `${name} made the model no better on the data held out to choose weights by, so its weights stay as they were. A model that is ` +
      `nearly exact needs small steps, and many: lower --learning-rate, raise --steps and --batch, or train fewer weights ` +
      `(--train attention or features).`,
  ];
}

function percent(value: number): string {
  return `${(100 * value).toFixed(2)} %`;
}

/** Runs a step, and turns its errors into ones that say what to do. */
async function guarded<T extends { readonly loss: number }>(
  step: number,
  path: string,
  sequences: DataBatch["sequences"],
  action: () => Promise<T>,
): Promise<T> {
  let result: T;
  try {
    result = await action();
  } catch (error) {
    throw trainingFault(error, step, path, sequences);
  }
  if (!Number.isFinite(result.loss)) throw notFinite(step, path, sequences);
  return result;
}

async function disposed(stage: TrainingStage): Promise<void> {
  await stage.dispose();
}

function stopped(signal: StopSignal, phase: Phase, step: number): StoppedError {
  return new StoppedError(
    `Stopped by ${signal} after step ${step} of ${phase.settings.steps} (${phase.name}). A checkpoint was written: run ` +
      `the same command with --resume to continue to the same result.`,
    signal,
  );
}
