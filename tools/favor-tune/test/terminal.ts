import { answerOf } from "@favor/test-support/terminal";
import type { Answer } from "@favor/test-support/terminal";
import { main } from "../src/main.ts";

/** Runs the command line in this process. */
export async function favorTune(...argv: string[]): Promise<Answer> {
  return answerOf(main, argv);
}
