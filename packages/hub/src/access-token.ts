import { HubNameError } from "./errors.ts";

/** A user access token that cannot be printed: logs, JSON and `util.inspect` show only its origin. */
export class AccessToken {
  readonly #secret: string;
  /** Where the token was found, for messages: "the environment variable HF_TOKEN". */
  readonly source: string;

  /** @throws HubNameError when the text cannot be sent in a header (the message does not show it) */
  constructor(secret: string, source: string) {
    if (!/^[\x21-\x7e]+$/.test(secret)) {
      throw new HubNameError(
        `The access token from ${source} has spaces, line breaks or characters outside ASCII. Copy it again from the Hub's settings page.`,
        { source },
      );
    }
    this.#secret = secret;
    this.source = source;
  }

  /** The value of the Authorization header. */
  authorization(): string {
    return `Bearer ${this.#secret}`;
  }

  /** `text` without the token, should a server have echoed it. */
  redact(text: string): string {
    return text.replaceAll(this.#secret, "[token]");
  }

  toString(): string {
    return `[access token from ${this.source}]`;
  }

  toJSON(): string {
    return this.toString();
  }
}
