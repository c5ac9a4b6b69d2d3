import { mkdirSync, readdirSync, rmSync, rmdirSync } from "node:fs";
import { dirname, join } from "node:path";

import { removeEmptyFolders } from "@favor/checkpoints/node";

import { TuneUsageError } from "../errors.ts";
import type { TuneRequest } from "../request.ts";
import { CheckpointStore } from "./checkpoint-store.ts";

/** The files and folders that a run makes in its folder, temporary ones included. */
const ownNames: readonly RegExp[] = [
  /^checkpoint(\.next|\.previous)?\.safetensors(\.tmp)?$/,
  /^log\.jsonl$/,
  /^\.?(evaluated|measured|original)\.onnx/,
  /^(distill|teacher)-\w{6}$/,
];

/** The folder of a run's checkpoints, its log and its temporary files, next to the output. */
export class TrainingFolder {
  readonly path: string;
  /** The topmost parent folder that had to be created, if any. */
  readonly #madeParent: string | undefined;

  /**
   * Creates the folder. Without `resume`, what an earlier run left in it is removed.
   *
   * @throws {TuneUsageError} `training-exists` if an earlier run left checkpoints, without `resume` or `force`; the
   * system's errors.
   */
  constructor(path: string, { resume, force }: TuneRequest) {
    this.path = path;
    if (resume !== true) {
      if (force !== true && this.isResumable) {
        throw new TuneUsageError(
          `${path} contains the checkpoints of an unfinished run. Continue it with --resume, or start over with --force, ` +
            `which removes them.`,
          { code: "training-exists", details: { path } },
        );
      }
      this.remove();
    }
    this.#madeParent = mkdirSync(dirname(path), { recursive: true });
    try {
      // Without `recursive`, which reports a read-only disk as ENOENT.
      mkdirSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }

  /** Whether there is a checkpoint to resume from. */
  get isResumable(): boolean {
    return new CheckpointStore(this.path).exists;
  }

  /**
   * Removes what runs made in the folder; then the folder, and the parents that were created for it, as far as they are
   * empty. Synchronous, so that a signal's handler can call it.
   */
  remove(): void {
    for (const name of namesIn(this.path)) {
      if (ownNames.some((own) => own.test(name))) {
        rmSync(join(this.path, name), { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
      }
    }
    try {
      rmdirSync(this.path);
    } catch {
      // Absent, a link, or with files of somebody else.
      return;
    }
    removeEmptyFolders(dirname(this.path), this.#madeParent);
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
