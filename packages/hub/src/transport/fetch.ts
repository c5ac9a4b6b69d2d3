/** What is passed to a {@link Fetch}: a subset of the standard's `RequestInit`. */
export interface FetchInit {
  method: "GET" | "POST";
  headers: Record<string, string>;
  body?: string;
  redirect: "manual" | "follow";
  signal: AbortSignal;
}

/** The part of the standard's `Response` that is used. */
export interface FetchResponse {
  readonly status: number;
  readonly type: string;
  readonly url: string;
  readonly headers: { get(name: string): string | null };
  readonly body: {
    getReader(): {
      read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
      cancel(reason?: unknown): Promise<void>;
    };
    cancel(reason?: unknown): Promise<void>;
  } | null;
}

/** `fetch`, as far as it is used: the browser's, undici's, or one of your own for other transports. */
export type Fetch = (url: string, init: FetchInit) => Promise<FetchResponse>;

/** A URL fit for messages: signatures and tokens live in the query, passwords before the host. */
export function shownUrl(url: string): string {
  try {
    const { origin, pathname } = new URL(url);
    return origin + pathname;
  } catch {
    return "(not a URL)";
  }
}

/** fetch hides the reason of a failure in `cause`. */
export function rootCause(error: unknown): { code?: string; message: string } {
  let at = error;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  if (!(at instanceof Error)) return { message: String(at) };
  const code = (at as { code?: unknown }).code;
  return { message: at.message, ...(typeof code === "string" ? { code } : {}) };
}
