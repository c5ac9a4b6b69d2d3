import { PassThrough } from "node:stream";

import { main } from "../src/main.ts";

export interface Answer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line in this process. */
export async function favorTune(...argv: string[]): Promise<Answer> {
  const text = { stdout: "", stderr: "" };
  const stream = (name: keyof typeof text): PassThrough => {
    const made = new PassThrough();
    made.on("data", (chunk: Buffer) => (text[name] += chunk.toString("utf8")));
    return made;
  };
  const status = await main(argv, { stdout: stream("stdout"), stderr: stream("stderr"), environment: {} });
  // Streams hand their last piece over in a later turn.
  await new Promise((resolve) => setImmediate(resolve));
  return { status, ...text };
}
