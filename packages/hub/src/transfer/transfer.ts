import type { PartialFile } from "../cache.ts";
import { HubAccessError, HubNetworkError, HubNotFoundError, HubResponseError } from "../errors.ts";
import type { RemoteFile } from "../remote-file.ts";
import type { Subject } from "../transport/refusal.ts";
import { pause, pauseBefore, type RetryNotice } from "../transport/retry.ts";
import type { Exchange, Transport } from "../transport/transport.ts";
import { startDigest, type DigestFactory } from "./digest.ts";
import { OrderedHash } from "./ordered-hash.ts";
import { RangeSet, type ByteRange } from "./ranges.ts";
import { changed, checkResponse, normalEtag } from "./response.ts";

/** How much is gathered before it is written. */
const writeBytes = 2 ** 20;
/** Less progress than this between two failures counts as none. */
const progressBytes = 2 ** 16;
/** Progress is recorded at most this often, in milliseconds. */
const saveEveryMs = 1000;

/** What a {@link transfer} needs. */
export interface TransferOptions {
  readonly transport: Transport;
  readonly file: RemoteFile;
  /** The file's address at the endpoint. */
  readonly url: string;
  readonly subject: Subject;
  readonly partial: PartialFile;
  readonly digest: DigestFactory;
  /** Parallel requests; 1 without ranges. */
  readonly connections: number;
  /** Bytes per request when there are several connections. */
  readonly pieceBytes: number;
  /** Never ask for ranges: the last resort with servers that answer them wrongly. */
  readonly plain: boolean;
  readonly signal?: AbortSignal | undefined;
  /** How many bytes of the file are there now. */
  readonly onBytes?: ((present: number) => void) | undefined;
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
}

/**
 * Downloads a file's missing bytes into its partial file, and hashes all of it in order.
 *
 * Connections that break off are continued where they ended, as often as there is progress; without progress as
 * often as the transport's retry policy says.
 *
 * @returns the content hash of what is in the partial file; the caller compares it with `file.etag`
 * @throws HubIntegrityError, HubResponseError when a fresh start is needed, else what {@link Transport.open} throws
 */
export async function transfer(options: TransferOptions): Promise<string> {
  const run = new Transfer(options);
  try {
    await run.resume();
    await run.download();
    return await run.finish();
  } finally {
    run.close();
  }
}

class Transfer {
  readonly #options: TransferOptions;
  #hash: OrderedHash;
  #plain: boolean;
  /** Where the endpoint redirected to: asked directly from then on, one redirect less per range. */
  #location: string | undefined;
  #validator: string | undefined;
  #failures = 0;
  #bytesAtFailure = 0;
  #lastSave = -Infinity;

  constructor(options: TransferOptions) {
    this.#options = options;
    this.#plain = options.plain;
    this.#hash = this.#emptyHash();
  }

  /** Takes over what an earlier download left, if its beginning still has the hash that was recorded. */
  async resume(): Promise<void> {
    const { partial, file } = this.#options;
    const { checkpoint } = partial;
    if (checkpoint === undefined) return;
    const done = new RangeSet(checkpoint.done);
    if (done.endOfRun(0) < checkpoint.prefixBytes) return;
    const hash = new OrderedHash(startDigest(this.#options.digest, file), partial, done);
    const sound = (await hash.hashPrefix(checkpoint.prefixBytes)) === checkpoint.prefixDigest;
    (sound ? this.#hash : hash).close();
    if (sound) this.#hash = hash;
  }

  async download(): Promise<void> {
    while (this.#hash.done.bytes < this.#options.file.size) {
      this.#report();
      const round = new AbortController();
      const { signal } = this.#options;
      const onAbort = (): void => round.abort(signal!.reason);
      if (signal?.aborted === true) onAbort();
      else signal?.addEventListener("abort", onAbort, { once: true });
      const queue = this.#pieces();
      const workers = Array.from({ length: Math.min(queue.length, this.#connections()) }, async () => {
        for (let piece = queue.shift(); piece !== undefined; piece = queue.shift()) {
          await this.#fetch(piece, round.signal);
        }
      });
      try {
        await Promise.all(workers);
      } catch (error) {
        round.abort(error);
        // The others may still be writing; they must be done before the file is continued, closed or deleted.
        await Promise.allSettled(workers);
        await this.#save(true);
        signal?.throwIfAborted();
        await this.#recover(error);
      } finally {
        signal?.removeEventListener("abort", onAbort);
      }
    }
    this.#report();
  }

  finish(): Promise<string> {
    return this.#hash.finish();
  }

  close(): void {
    this.#hash.close();
  }

  #connections(): number {
    return this.#plain || !this.#options.partial.readable ? 1 : this.#options.connections;
  }

  /** What to ask for, one request each. */
  #pieces(): ByteRange[] {
    const { file, pieceBytes } = this.#options;
    const gaps = this.#hash.done.missing(0, file.size);
    if (this.#connections() === 1) return gaps;
    return gaps.flatMap(({ start, end }) =>
      Array.from({ length: Math.ceil((end - start) / pieceBytes) }, (_, index) => ({
        start: start + index * pieceBytes,
        end: Math.min(end, start + (index + 1) * pieceBytes),
      })),
    );
  }

  async #fetch(piece: ByteRange, signal: AbortSignal): Promise<void> {
    const { file, partial } = this.#options;
    const whole = piece.start === 0 && piece.end === file.size;
    const exchange = await this.#open(whole ? undefined : piece, signal);
    // Chunks are gathered in two blocks: one is written while the other fills.
    const blockBytes = Math.min(writeBytes, piece.end - piece.start);
    let [block, spare] = [new Uint8Array(blockBytes), new Uint8Array(blockBytes)];
    let received = piece.start;
    let filled = 0;
    let writing: Promise<void> | undefined;
    const flush = async (): Promise<void> => {
      await writing;
      const bytes = block.subarray(0, filled);
      const position = received - filled;
      [block, spare] = [spare, block];
      filled = 0;
      writing =
        bytes.length === 0 ? undefined : partial.write(position, bytes).then(() => this.#written(position, bytes));
      // Its failure is thrown by whoever awaits it next.
      writing?.catch(() => undefined);
    };
    try {
      for await (const chunk of exchange.body) {
        if (received + chunk.length > piece.end) {
          throw changed(file, `the server sends more than the ${piece.end - piece.start} bytes asked for`);
        }
        for (let at = 0; at < chunk.length;) {
          const part = chunk.subarray(at, at + blockBytes - filled);
          block.set(part, filled);
          filled += part.length;
          received += part.length;
          at += part.length;
          if (filled === blockBytes) {
            await flush();
            await this.#save(false);
          }
        }
      }
    } finally {
      // What has arrived is kept, however the request ended.
      await flush();
      await writing;
    }
    if (received < piece.end) {
      throw new HubNetworkError(
        "hub-interrupted",
        `The server ended ${file.path} after ${received - piece.start} of ${piece.end - piece.start} bytes.`,
        { retryable: true, details: { path: file.path } },
      );
    }
  }

  async #open(range: ByteRange | undefined, signal: AbortSignal): Promise<Exchange> {
    const { transport, file, url, subject, onRetry } = this.#options;
    const headers: Record<string, string> = { "accept-encoding": "identity" };
    if (range !== undefined) headers["range"] = `bytes=${range.start}-${range.end - 1}`;
    const request = { subject, headers, signal, accept: [416], onRetry };
    let exchange: Exchange | undefined;
    if (this.#location !== undefined) {
      try {
        exchange = await transport.open({ ...request, url: this.#location });
      } catch (error) {
        // A signed address expires; the endpoint gives a new one.
        if (!(error instanceof HubAccessError || error instanceof HubNotFoundError)) throw error;
        this.#location = undefined;
      }
    }
    const direct = exchange !== undefined;
    exchange ??= await transport.open({ ...request, url });
    try {
      const answer = checkResponse(direct ? { ...exchange, hubHeaders: noHeaders } : exchange, file, range);
      if (answer === "whole-file") throw new RangeIgnored();
      const validator = normalEtag(exchange.headers.get("etag"));
      this.#validator ??= validator;
      if (validator !== undefined && validator !== this.#validator) {
        throw changed(file, `its ETag was ${this.#validator} and is now ${validator}`);
      }
    } catch (error) {
      exchange.cancel();
      throw error;
    }
    if (exchange.url !== url) this.#location = exchange.url;
    return exchange;
  }

  async #written(position: number, bytes: Uint8Array): Promise<void> {
    await this.#hash.written(position, bytes);
    this.#report();
  }

  /** After a failure: waits and goes on, starts over, or gives up. */
  async #recover(error: unknown): Promise<void> {
    const { transport, onRetry, signal } = this.#options;
    if (error instanceof RangeIgnored) {
      this.#startOver();
      return;
    }
    // Failures to get a response at all have been retried by the transport.
    const cut = error instanceof HubNetworkError && (error.code === "hub-interrupted" || error.code === "hub-stalled");
    if (!cut) throw error;
    const present = this.#hash.done.bytes;
    if (present - this.#bytesAtFailure >= progressBytes) this.#failures = 0;
    this.#failures++;
    this.#bytesAtFailure = present;
    const policy = transport.settings.retry;
    if (this.#failures > policy.retries) throw error;
    const waitMs = pauseBefore(this.#failures, error, policy);
    onRetry?.({ attempt: this.#failures, waitMs, error });
    await pause(waitMs, signal);
    if (this.#plain) this.#startOver();
  }

  #startOver(): void {
    this.#plain = true;
    this.#hash.close();
    this.#hash = this.#emptyHash();
    this.#validator = undefined;
    this.#bytesAtFailure = 0;
  }

  #emptyHash(): OrderedHash {
    const { digest, file, partial } = this.#options;
    return new OrderedHash(startDigest(digest, file), partial);
  }

  async #save(now: boolean): Promise<void> {
    if (this.#hash.done.bytes === 0 || (!now && performance.now() - this.#lastSave < saveEveryMs)) return;
    this.#lastSave = performance.now();
    await this.#options.partial.save(await this.#hash.checkpoint());
  }

  #report(): void {
    this.#options.onBytes?.(this.#hash.done.bytes);
  }
}

const noHeaders = { get: (): null => null };

/** The server sent the whole file for a range: it cannot resume, so the file is asked for from its start. */
class RangeIgnored extends HubResponseError {
  constructor() {
    super("The server ignores requests for ranges.");
  }
}
