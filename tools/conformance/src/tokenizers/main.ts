import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

import { NoTokenError, TokenPipeline, UnsupportedStep } from "@favor/measure/tokens";

/** A line of the files that `python/tokenizers` writes. */
interface Case {
  readonly name: string;
  readonly tokenizer: unknown;
  readonly texts: readonly string[];
  /** `null` where the library raises. */
  readonly ids: readonly (readonly number[] | null)[];
}

/**
 * Compares Favor's ids with those that the library `tokenizers` gave, and prints each tokenizer that differs.
 *
 * @param path - JSON Lines of {@link Case}.
 * @returns how many tokenizers differ.
 */
async function compare(path: string): Promise<number> {
  const counts = { tokenizers: 0, refused: 0, texts: 0, differ: 0 };
  let different = 0;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const { name, tokenizer, texts, ids } = JSON.parse(line) as Case;
    counts.tokenizers++;
    const pipeline = open(name, tokenizer);
    if (pipeline === undefined) {
      counts.refused++;
      continue;
    }
    const wrong = texts.filter((text, at) => JSON.stringify(encode(pipeline, text)) !== JSON.stringify(ids[at]));
    counts.texts += texts.length;
    counts.differ += wrong.length;
    if (wrong.length === 0) continue;
    different++;
    console.log(`${name}: other ids for ${wrong.length} of ${texts.length} texts, such as ${JSON.stringify(wrong[0])}`);
  }
  console.log(
    `${counts.tokenizers} tokenizers, ${counts.refused} refused; ${counts.texts} texts, ${counts.differ} with other ids`,
  );
  return different;
}

function open(name: string, tokenizer: unknown): TokenPipeline | undefined {
  try {
    return new TokenPipeline(tokenizer);
  } catch (error) {
    if (!(error instanceof UnsupportedStep)) throw error;
    console.log(`${name}: refused, for it has ${error.message}`);
    return undefined;
  }
}

function encode(pipeline: TokenPipeline, text: string): readonly number[] | null {
  try {
    return pipeline.encode(text);
  } catch (error) {
    if (error instanceof NoTokenError) return null;
    throw error;
  }
}

const [path] = process.argv.slice(2);
if (path === undefined) {
  console.error("usage: npm run tokenizers -w @favor/conformance -- <file of python/tokenizers>");
  process.exitCode = 2;
} else {
  process.exitCode = (await compare(path)) === 0 ? 0 : 1;
}
