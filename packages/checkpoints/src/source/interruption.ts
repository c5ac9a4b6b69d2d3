const signals = ["SIGINT", "SIGTERM"] as const;

/**
 * Removes what is unfinished when the process is interrupted (SIGINT, SIGTERM); then the signal has its usual effect.
 *
 * @param remove - must be synchronous: nothing runs after it.
 * @returns ends the watch, when there is nothing to remove any more.
 */
export function removeOnInterrupt(remove: () => void): () => void {
  const stop = (): void => {
    for (const signal of signals) process.off(signal, interrupted);
  };
  const interrupted = (signal: NodeJS.Signals): void => {
    stop();
    remove();
    // With our handler gone the shell sees the usual status.
    process.kill(process.pid, signal);
  };
  for (const signal of signals) process.on(signal, interrupted);
  return stop;
}
