/** What the page of opfs-page.ts posts in the end. */
export interface OpfsReport {
  readonly error?: string;
  /** Sha256 of large.bin after the interrupted download started over, and after a reload without the Hub. */
  readonly downloaded: string;
  readonly reopened: string;
  /** Names below blobs while large.bin was on its way, and in the end. */
  readonly interrupted: readonly string[];
  readonly blobs: readonly string[];
  /** The code of the error for a file whose bytes are not what the Hub lists. */
  readonly wrong: string;
  /** The code of the error for a file that is not there, without the Hub. */
  readonly missing: string;
}
