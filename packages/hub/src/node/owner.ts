import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** A process, as others can recognise it. */
export interface Owner {
  /** Machine and, on Linux, process name space: where `pid` has a meaning. */
  readonly host: string;
  readonly pid: number;
  /** When it started, on Linux: tells it from a later process with the same `pid`. Opaque. */
  readonly started?: string;
}

/** This process. */
export function thisOwner(): Owner {
  return ownerOf(process.pid);
}

/** A process of this machine, running or not. */
export function ownerOf(pid: number): Owner {
  const started = startOf(pid);
  return { host: thisHost, pid, ...(started !== undefined && { started }) };
}

/** Whether a process certainly runs no more; `false` for other machines and containers, of which nothing is known. */
export function isGone(owner: Owner): boolean {
  if (owner.host !== thisHost) return false;
  return !isRunning(owner.pid) || isAnother(owner.started, startOf(owner.pid));
}

/** Whether a process with that number runs on this machine now. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code !== "ESRCH";
  }
}

function isAnother(then: string | undefined, now: string | undefined): boolean {
  return then !== undefined && now !== undefined && then !== now;
}

/** Reads an owner from parsed JSON. */
export function parseOwner(value: unknown): Owner | undefined {
  const { host, pid, started } = (value ?? {}) as Record<string, unknown>;
  if (typeof host !== "string" || !Number.isSafeInteger(pid) || (pid as number) <= 0) return undefined;
  return { host, pid: pid as number, ...(typeof started === "string" && { started }) };
}

/** When a process started: the boot, and the clock ticks since; undefined where there is no `/proc`, or no such process. */
function startOf(pid: number): string | undefined {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Field 22. The second is the program's name in parentheses, which may hold spaces and parentheses.
    const ticks = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    return ticks === undefined ? undefined : `${boot}/${ticks}`;
  } catch {
    return undefined;
  }
}

function processNamespace(): string {
  try {
    return `/${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return "";
  }
}

const thisHost = hostname() + processNamespace();
