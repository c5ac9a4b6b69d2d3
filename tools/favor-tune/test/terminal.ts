import { answerOf } from "../../favor-convert/test/terminal.ts";
import type { Answer } from "../../favor-convert/test/terminal.ts";
import { main } from "../src/main.ts";

/** Runs the command line in this process. */
export async function favorTune(...argv: string[]): Promise<Answer> {
  return answerOf(main, argv);
}
