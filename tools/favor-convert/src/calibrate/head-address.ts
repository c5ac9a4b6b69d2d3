/** Identifies a head; its features are drawn from the streams with these numbers. */
export interface HeadAddress {
  readonly seed: number;
  /** The site's number. */
  readonly layer: number;
  readonly head: number;
}
