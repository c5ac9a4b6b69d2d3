import { basename, dirname, join } from "node:path";

import { abandonedIn, ownName } from "../source/owned-folders.ts";

/**
 * The hidden folder, next to an output folder, in which one run makes it. Its name,
 * `.<output>.partial-<pid>-<host>-<start>-<random>`, says whose it is: a run that was killed cannot clean up, so a later
 * one does, and must not touch what a living process is writing.
 */
export interface WorkFolder {
  readonly path: string;
  /** What the output will be. */
  readonly fresh: string;
  /** What the output was, while the two change places. */
  readonly old: string;
  /** Files that do not stay. */
  readonly scratch: string;
  /** Lists which files of `old` are being replaced; written before the places change. */
  readonly journal: string;
}

/** Paths of a new work folder of this process for an output folder; nothing is created. */
export function workFolderFor(target: string): WorkFolder {
  return workFolderAt(join(dirname(target), `${prefixFor(target)}${ownName()}`));
}

/** Work folders for an output folder whose processes certainly ended. */
export function abandonedWorkFolders(target: string): WorkFolder[] {
  return abandonedIn(dirname(target), prefixFor(target)).map((path) => workFolderAt(path));
}

function workFolderAt(path: string): WorkFolder {
  const [fresh, old, scratch] = [join(path, "new"), join(path, "old"), join(path, "scratch")];
  return { path, fresh, old, scratch, journal: join(path, "replaced.json") };
}

function prefixFor(target: string): string {
  return `.${basename(target)}.partial-`;
}
