const signals = ["SIGINT", "SIGTERM"] as const;

/**
 * Removes unfinished files if the process is interrupted (SIGINT, SIGTERM), then lets the signal have its usual effect.
 *
 * @param remove - must be synchronous, because nothing runs after it.
 * @returns stops watching; call it once there is nothing left to remove.
 */
export function removeOnInterrupt(remove: () => void): () => void {
  const stop = (): void => {
    for (const signal of signals) process.off(signal, interrupted);
  };
  const interrupted = (signal: NodeJS.Signals): void => {
    stop();
    remove();
    // Without our handler, the shell sees the usual exit status.
    process.kill(process.pid, signal);
  };
  for (const signal of signals) process.on(signal, interrupted);
  return stop;
}
