import { readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** A process, as others can recognise it. */
export interface Owner {
  /** Machine and, on Linux, process name space: where `pid` has a meaning. */
  readonly host: string;
  readonly pid: number;
}

/** This process. */
export function thisOwner(): Owner {
  return { host: thisHost, pid: process.pid };
}

/** Whether a process has certainly ended; `false` for other machines and containers, about which nothing is known. */
export function isGone(owner: Owner): boolean {
  if (owner.host !== thisHost) return false;
  try {
    process.kill(owner.pid, 0);
    return false;
  } catch (error) {
    return (error as { code?: unknown }).code === "ESRCH";
  }
}

/** Reads an owner from parsed JSON. */
export function parseOwner(value: unknown): Owner | undefined {
  const { host, pid } = (value ?? {}) as Record<string, unknown>;
  return typeof host === "string" && Number.isSafeInteger(pid) && (pid as number) > 0
    ? { host, pid: pid as number }
    : undefined;
}

function processNamespace(): string {
  try {
    return `/${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return "";
  }
}

const thisHost = hostname() + processNamespace();
