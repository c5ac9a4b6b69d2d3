import { statfs } from "node:fs/promises";
import { dirname } from "node:path";

import { bytesText } from "@favor/checkpoints/node";

import { TrainingError } from "./errors.ts";
import type { Settings } from "./settings.ts";

/** Codes that only writing can cause. */
const writingCodes: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG", "EROFS"]);
/** Codes that reading can cause too, so that the path must tell. */
const accessCodes: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EIO", "ENOTDIR", "EEXIST", "ENOENT"]);

/** Where a run writes and how much. */
export interface WrittenPlace {
  /** The folder of the checkpoints, next to the output. */
  readonly folder: string;
  /** Approximate bytes that the run needs there; undefined if not known yet. */
  readonly needed: number | undefined;
  /** Whether there is a checkpoint to resume from. */
  readonly hasCheckpoint: boolean;
}

/**
 * Turns an error of the disk that the run writes to into one that says what to do, and returns any other error unchanged.
 * The last checkpoint is always kept.
 */
export async function diskFault(error: unknown, place: WrittenPlace): Promise<unknown> {
  const { folder, needed, hasCheckpoint } = place;
  const refusal = refusalOf(error, folder);
  if (error instanceof TrainingError || refusal === undefined) return error;
  const free = await freeBytes(folder);
  const space =
    needed === undefined || free === undefined
      ? ""
      : ` (this run takes about ${bytesText(needed)} there, ${bytesText(free)} are free)`;
  const way = hasCheckpoint
    ? `run the same command with --resume to continue from the last checkpoint. Alternatively, move ${folder} to another ` +
      `disk as <output>.training, and pass -o <output> with --resume`
    : "run the same command again, or name a folder elsewhere after -o";
  return new TrainingError(
    `${dirname(folder)} cannot be written (${refusal.message}). Free some space${space}, or make it writable, and ${way}.`,
    { code: "disk-failed", cause: error, details: { folder, needed, free } },
  );
}

/**
 * Estimates the most disk space that a run needs at a time, in bytes: three checkpoints (the last two, and the one being
 * written) with the weights and two moments of what is trained, two copies of the model, and one of a teacher.
 */
export function bytesNeeded(modelBytes: number, { stages, train, control, weights, kl }: Settings): number {
  const trainsAll = (stages.includes("mlm") || stages.includes("align")) && train !== "features";
  const copies = trainsAll ? 3 + (control ? 1 : 0) + (weights === "best" ? 1 : 0) : 0;
  return modelBytes * (2 + (kl > 0 ? 1 : 0) + 3 * copies);
}

/** Free bytes on the disk of a folder, which need not exist yet; undefined if the system does not say. */
export async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(dirname(folder));
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/** The system's error if the disk refused one of our writes: the last such error in the chain of causes. */
function refusalOf(error: unknown, folder: string): Error | undefined {
  let found: Error | undefined;
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const { code, path } = cause as { readonly code?: unknown; readonly path?: unknown };
    if (typeof code !== "string") continue;
    const isOurs = typeof path === "string" && path.startsWith(folder);
    if (writingCodes.has(code) || (accessCodes.has(code) && isOurs)) found = cause;
  }
  return found;
}
