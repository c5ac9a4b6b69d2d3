import { HubNetworkError } from "../errors.ts";

/** When and how often to try again. */
export interface RetryPolicy {
  /** Attempts after the first, 5 by default. */
  readonly retries: number;
  /** The first pause in milliseconds, doubled each time: 500 by default. */
  readonly baseMs: number;
  /** The longest pause of our own choosing: 8000 by default. */
  readonly maxMs: number;
  /** The longest pause that a server may ask for before we give up instead: 300 000 (5 minutes) by default. */
  readonly maxRetryAfterMs: number;
}

export const defaultRetryPolicy: RetryPolicy = { retries: 5, baseMs: 500, maxMs: 8000, maxRetryAfterMs: 300_000 };

/** A pause before an attempt, as reported to progress events. */
export interface RetryNotice {
  readonly attempt: number;
  readonly waitMs: number;
  readonly error: HubNetworkError;
}

/**
 * How long to wait before attempt `attempt` (from 1): what the server asked for, or `baseMs * 2^(attempt - 1)` up to
 * `maxMs`, of which a random half is dropped so that clients that failed together do not return together.
 *
 * @throws HubNetworkError "hub-rate-limited" when the server asks for more than `maxRetryAfterMs`
 */
export function pauseBefore(attempt: number, error: HubNetworkError, policy: RetryPolicy): number {
  if (error.retryAfterMs !== undefined) {
    if (error.retryAfterMs > policy.maxRetryAfterMs) {
      throw new HubNetworkError(
        "hub-rate-limited",
        `${error.message} The server asks to wait ${Math.round(error.retryAfterMs / 1000)} s, more than the ` +
          `${Math.round(policy.maxRetryAfterMs / 1000)} s that we wait. Try again later.`,
        { retryAfterMs: error.retryAfterMs, details: error.details, cause: error },
      );
    }
    return error.retryAfterMs;
  }
  return Math.min(policy.maxMs, policy.baseMs * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
}

/** Runs an operation, again after each {@link HubNetworkError} that is `retryable`, as the policy says. */
export async function withRetries<T>(
  operation: () => Promise<T>,
  policy: RetryPolicy,
  signal?: AbortSignal,
  onRetry?: (notice: RetryNotice) => void,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation();
    } catch (error) {
      if (!(error instanceof HubNetworkError) || !error.retryable || attempt > policy.retries) throw error;
      const waitMs = pauseBefore(attempt, error, policy);
      onRetry?.({ attempt, waitMs, error });
      await pause(waitMs, signal);
    }
  }
}

/** Waits, or rejects with the signal's reason as soon as it aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * How long a response asks to wait, in milliseconds: `Retry-After` in seconds or as a date, or the Hub's `RateLimit`
 * header when nothing remains. A date counts from the server's own `Date`, so that a wrong clock here does no harm.
 * What makes no sense (negative, not a number) is ignored.
 */
export function retryAfterMs(
  headers: { get(name: string): string | null },
  now: number = Date.now(),
): number | undefined {
  const value = headers.get("retry-after")?.trim();
  if (value !== undefined && value !== "") {
    if (/^\d+$/.test(value)) return Number(value) * 1000;
    const date = Date.parse(value);
    const serverNow = Date.parse(headers.get("date") ?? "");
    const wait = date - (Number.isNaN(serverNow) ? now : serverNow);
    if (/[a-z]/i.test(value) && wait >= 0) return wait;
  }
  const limit = /r\s*=\s*0\s*;\s*t\s*=\s*(\d+)/.exec(headers.get("ratelimit") ?? "");
  return limit ? Number(limit[1]) * 1000 : undefined;
}
