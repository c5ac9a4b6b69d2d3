import { refusalCodes, type RefusalCode } from "./codes.ts";

/** Why an attention layer stays as it is: a stable code, and a message that needs no knowledge of our code. */
export interface Reason {
  readonly code: RefusalCode;
  /** What was found and where, what becomes of the layer, and what the user can do. */
  readonly message: string;
}

/**
 * A reason whose message says what was found, that the layer stays softmax, and what to do.
 *
 * @param found a whole sentence that names the nodes of the model
 * @param remedy what the user can do; default the remedy of the code
 */
export function reasonFor(code: RefusalCode, found: string, remedy: string = refusalCodes[code].remedy): Reason {
  const outcome = code === "not-softmax" ? "as it is" : "softmax";
  return { code, message: `${found} This layer stays ${outcome}. ${remedy}` };
}
