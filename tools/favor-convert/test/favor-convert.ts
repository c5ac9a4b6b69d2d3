import { main } from "../src/main.ts";
import { answerOf } from "@favor/test-support/terminal";
import type { Answer } from "@favor/test-support/terminal";

/** Runs favor-convert in this process. */
export async function favorConvert(...argv: string[]): Promise<Answer> {
  return answerOf(main, argv);
}
