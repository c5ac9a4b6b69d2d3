import { dirname } from "node:path";

import { pause } from "../transport/retry.ts";
import { isGone, parseOwner, thisOwner } from "./owner.ts";
import { ifPresent, systemCode, type FileSystem } from "./storage.ts";

/** How often the holder of a lock signals that it is alive. */
const heartbeatMs = 5000;
const pollMs = 100;
/** Attempts to make a folder that other processes may be removing. */
const makeAttempts = 20;

/**
 * Runs `work` while holding a lock file, so that processes that want the same file do not download it twice. A lock
 * whose owner was killed is taken over at once on the same machine, and elsewhere when its file has not changed for
 * 30 seconds of our own clock: the clocks of machines that share a cache need not agree.
 *
 * Nothing depends on the lock but bandwidth. Each process writes a file of its own and renames it into place, so two
 * that both believe to hold the lock do no harm. (Python's lock is an `flock`, which Node cannot take.)
 *
 * @param patienceMs how long we watch the lock of an owner elsewhere, 30 seconds by default
 * @throws the signal's reason when it aborts while we wait; system errors of the folder
 */
export async function withLockFile<T>(
  fs: FileSystem,
  path: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  patienceMs: number = 30_000,
): Promise<T> {
  const mine = JSON.stringify({ ...thisOwner(), nonce: crypto.randomUUID() });
  let seen = "";
  let seenSince = 0;
  while (!(await create(fs, path, mine))) {
    signal?.throwIfAborted();
    const found = await ifPresent(look(fs, path));
    if (found === undefined) continue;
    const isStill = found.state === seen;
    if (!isStill) {
      seen = found.state;
      seenSince = performance.now();
    }
    const owner = ownerOf(found.content);
    const abandoned = (owner !== undefined && isGone(owner)) || (isStill && performance.now() - seenSince > patienceMs);
    if (abandoned) await fs.rm(path, { force: true });
    else await pause(pollMs, signal);
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    fs.utimes(path, now, now).catch(() => undefined);
  }, heartbeatMs);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    // Leave the lock alone if another process took it over while we slept.
    const content = await fs.readFile(path, "utf8").catch(() => "");
    if (content === mine) await fs.rm(path, { force: true }).catch(() => undefined);
  }
}

async function create(fs: FileSystem, path: string, content: string): Promise<boolean> {
  await makeFolder(fs, dirname(path));
  try {
    await fs.writeFile(path, content, { flag: "wx" });
    return true;
  } catch (error) {
    // ENOENT: somebody cleaned the folder of locks up at this moment.
    if (systemCode(error) === "EEXIST" || systemCode(error) === "ENOENT") return false;
    throw error;
  }
}

/** Node's recursive `mkdir` says ENOENT when a folder on the way is removed at that moment, and for a link to nowhere. */
async function makeFolder(fs: FileSystem, folder: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await fs.mkdir(folder, { recursive: true });
      return;
    } catch (error) {
      if (systemCode(error) !== "ENOENT" || attempt === makeAttempts) throw error;
    }
  }
}

async function look(fs: FileSystem, path: string): Promise<{ content: string; state: string }> {
  const content = await fs.readFile(path, "utf8");
  const { mtimeMs } = await fs.stat(path);
  return { content, state: `${content} ${mtimeMs}` };
}

function ownerOf(content: string): ReturnType<typeof parseOwner> {
  try {
    return parseOwner(JSON.parse(content));
  } catch {
    // Its writer is between creating and filling the file, or was killed there.
    return undefined;
  }
}
