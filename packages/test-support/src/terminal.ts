import { PassThrough } from "node:stream";

import type { Terminal } from "@favor/command-line";

export interface Answer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process. */
export async function answerOf(
  program: (argv: readonly string[], terminal: Terminal) => Promise<number>,
  argv: readonly string[],
): Promise<Answer> {
  const text = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof text): PassThrough => {
    const made = new PassThrough();
    made.on("data", (chunk: Buffer) => (text[name] += chunk.toString("utf8")));
    return made;
  };
  const status = await program(argv, { stdout: stream("stdout"), stderr: stream("stderr"), environment: {} });
  // Streams hand their last piece over in a later turn.
  await new Promise((resolve) => setImmediate(resolve));
  return { status, ...text };
}
