import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { InputError } from "@favor/checkpoints";
import { NoTokenError, TokenPipeline, UnsupportedStep, loadTokenizer } from "@favor/measure/tokens";

/** A line of the files that `python/tokenizers` writes. */
interface Case {
  readonly name: string;
  /** A `tokenizer.json`, or the files of a checkpoint: text, or `base64:` and bytes. */
  readonly tokenizer?: unknown;
  readonly files?: Readonly<Record<string, string>>;
  readonly texts: readonly string[];
  /** `null` where the library raises. */
  readonly ids: readonly (readonly number[] | null)[] | null;
}

type Encode = (text: string) => readonly number[] | null;

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
    const { name, texts, ids, ...source } = JSON.parse(line) as Case;
    counts.tokenizers++;
    const encode =
      source.files === undefined ? pipelineOf(name, source.tokenizer) : await openFolder(name, source.files);
    if (encode === undefined || ids === null) {
      if (encode !== undefined) console.log(`${name}: opened, where transformers raises`);
      counts.refused++;
      continue;
    }
    const wrong = texts.filter((text, at) => JSON.stringify(encode(text)) !== JSON.stringify(ids[at]));
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

function pipelineOf(name: string, tokenizer: unknown): Encode | undefined {
  try {
    const pipeline = new TokenPipeline(tokenizer);
    return (text) => orNull(() => pipeline.encode(text));
  } catch (error) {
    if (!(error instanceof UnsupportedStep)) throw error;
    console.log(`${name}: refused, for it has ${error.message}`);
    return undefined;
  }
}

function orNull(encode: () => readonly number[]): readonly number[] | null {
  try {
    return encode();
  } catch (error) {
    if (error instanceof NoTokenError) return null;
    throw error;
  }
}

/** The tokenizer of a checkpoint's files. Every id of a text is seen, even of one without tokens, which data may not have. */
async function openFolder(name: string, files: Readonly<Record<string, string>>): Promise<Encode | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "favor-tokenizer-"));
  try {
    for (const [file, contents] of Object.entries(files)) {
      const isBinary = contents.startsWith("base64:");
      await writeFile(join(folder, file), isBinary ? Buffer.from(contents.slice(7), "base64") : contents);
    }
    const tokenizer = await loadTokenizer(folder);
    return (text) => orNull(() => tokenizer.idsOf(text));
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    console.log(`${name}: refused (${error.code}): ${error.message.replace(folder, "")}`);
    return undefined;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const [path] = process.argv.slice(2);
if (path === undefined) {
  console.error("usage: npm run tokenizers -w @favor/conformance -- <file of python/tokenizers>");
  process.exitCode = 2;
} else {
  process.exitCode = (await compare(path)) === 0 ? 0 : 1;
}
