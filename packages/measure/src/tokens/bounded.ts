import { Script, createContext } from "node:vm";
import { isMainThread } from "node:worker_threads";

/** After Ctrl-C, how long work may still take whose result a handler of the signal may need, in milliseconds. */
const afterInterrupt = 1000;

const context: { work: () => void } = { work: () => {} };
createContext(context);
const script = new Script("work()");

/**
 * Runs work of this thread with a bound that holds even inside a regular expression that backtracks without end, where no
 * event is seen and no flag is checked. Ctrl-C interrupts it at any moment; handlers of the signal are called as usual.
 * Costs about 0.1 ms.
 *
 * @param work - synchronous.
 * @param limit - in milliseconds.
 * @returns the result, or `undefined` if the work was ended because it took longer.
 */
export function runBounded<T>(work: () => T, limit: number): { readonly result: T } | undefined {
  try {
    return runScript(work, limit, isMainThread);
  } catch (error) {
    if (codeOf(error) !== "ERR_SCRIPT_EXECUTION_INTERRUPTED") throw error;
  }
  // The signal was ours instead of the handlers': they remove files or ask for a last checkpoint, and may go on.
  if (process.listenerCount("SIGINT") > 0) process.emit("SIGINT", "SIGINT");
  else process.kill(process.pid, "SIGINT");
  return runScript(work, afterInterrupt, false);
}

function runScript<T>(work: () => T, timeout: number, breakOnSigint: boolean): { readonly result: T } | undefined {
  const found: { result: T }[] = [];
  context.work = () => void found.push({ result: work() });
  try {
    script.runInContext(context, { timeout, breakOnSigint });
  } catch (error) {
    if (codeOf(error) !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
  } finally {
    context.work = () => {};
  }
  return found[0];
}

/** The error is one of the other context's, and no instance of our `Error`. */
function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}
