/** A part of a `tokenizer.json` that Favor does not carry out exactly as the library `tokenizers` does. */
export class UnsupportedStep extends Error {
  /** @param what - names the part and what it has, to follow "it has". */
  constructor(what: string) {
    super(what);
    this.name = "UnsupportedStep";
  }
}

/** A text has a part that is in no token, and the tokenizer has no unknown token. */
export class NoTokenError extends Error {
  /** @param part - that part. */
  constructor(part: string) {
    super(JSON.stringify(part.length > 30 ? `${part.slice(0, 30)}...` : part));
    this.name = "NoTokenError";
  }
}
