/** Signals that ask a process to end: Ctrl-C, `kill`, and a terminal that was closed. */
export const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export type StopSignal = (typeof stopSignals)[number];

/**
 * Removes unfinished files if the process gets one of the {@link stopSignals}, then lets the signal have its usual
 * effect.
 *
 * @param remove - must be synchronous, because nothing runs after it.
 * @returns stops watching; call it once there is nothing left to remove.
 */
export function removeOnInterrupt(remove: () => void): () => void {
  const stop = (): void => {
    for (const signal of stopSignals) process.off(signal, interrupted);
  };
  const interrupted = (signal: NodeJS.Signals): void => {
    stop();
    try {
      remove();
    } finally {
      // Without our handler, the shell sees the usual exit status.
      process.kill(process.pid, signal);
    }
  };
  for (const signal of stopSignals) process.on(signal, interrupted);
  return stop;
}
