import { main } from "../src/main.ts";
import { answerOf } from "./terminal.ts";
import type { Answer } from "./terminal.ts";

/** Runs favor-convert in this process. */
export async function favorConvert(...argv: string[]): Promise<Answer> {
  return answerOf(main, argv);
}
