import type { FavorSite } from "./favor-file.ts";

/** The mask of a site in a few words: "padding, ALiBi". */
export function maskName({ kind, alibi }: Pick<FavorSite["mask"], "kind" | "alibi">): string {
  if (alibi === undefined) return kind;
  return kind === "none" ? "ALiBi" : `${kind}, ALiBi`;
}
