import { HubNameError } from "../errors.ts";
import { hasControlCharacter, validateFilename } from "./filename.ts";

/** What kind of repository: the Hub keeps them in separate name spaces. */
export type RepositoryType = "model" | "dataset" | "space";

/** A repository of the Hub, for instance `{ type: "model", id: "google-bert/bert-base-uncased" }`. */
export interface Repository {
  readonly type: RepositoryType;
  readonly id: string;
}

const types: readonly RepositoryType[] = ["model", "dataset", "space"];
const idSegment = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$/;
const commitHash = /^[0-9a-f]{40}$/;

/**
 * Reads a repository designation: `"org/name"` or `"name"` (a model), `"datasets/org/name"`, `"spaces/org/name"`, or
 * the object itself. The id's rules are those of the Hub: at most 96 characters, letters, digits, `-`, `_`, `.`, one
 * slash at most, no `--`, no `..`, no `.git` at the end.
 *
 * @throws HubNameError when it breaks one of them
 */
export function parseRepository(designation: string | Repository): Repository {
  let repository: Repository;
  if (typeof designation !== "string") {
    repository = designation;
  } else {
    const typed = /^(models|datasets|spaces)\/(.+)$/.exec(designation);
    repository = typed
      ? { type: typed[1]!.slice(0, -1) as RepositoryType, id: typed[2]! }
      : { type: "model", id: designation };
  }
  if (!types.includes(repository.type)) {
    throw new HubNameError(`Repository type ${JSON.stringify(repository.type)} is not one of ${types.join(", ")}.`);
  }
  const { id } = repository;
  const segments = id.split("/");
  const valid =
    id.length <= 96 &&
    segments.length <= 2 &&
    segments.every((segment) => idSegment.test(segment)) &&
    !id.includes("--") &&
    !id.includes("..") &&
    !id.endsWith(".git");
  if (!valid) {
    throw new HubNameError(
      `Repository id ${JSON.stringify(id)} is not valid. The Hub's ids look like "organisation/name": letters, digits, ` +
        `"-", "_" and ".", at most 96 characters, without "--", ".." or ".git" at the end.`,
      { id },
    );
  }
  return { type: repository.type, id };
}

/** The designation of a repository as the Hub's pages write it: `org/name`, `datasets/org/name`, `spaces/org/name`. */
export function repositoryPath(repository: Repository): string {
  return repository.type === "model" ? repository.id : `${repository.type}s/${repository.id}`;
}

/** The folder of a repository in the cache: `models--org--name`. */
export function repositoryFolder(repository: Repository): string {
  return [`${repository.type}s`, ...repository.id.split("/")].join("--");
}

/** Whether a revision is a full commit hash, that is, immutable. */
export function isCommit(revision: string): boolean {
  return commitHash.test(revision);
}

/**
 * Checks a revision (branch, tag, `refs/pr/1`, commit): Git's rules for reference names, and those of file names on
 * POSIX and Windows, because the cache keeps a reference under its own name (`refs/<revision>`).
 *
 * @throws HubNameError
 */
export function validateRevision(revision: string): string {
  const valid =
    revision.length > 0 &&
    revision.length <= 255 &&
    !/[ ~^:?*[\\]/.test(revision) &&
    !hasControlCharacter(revision) &&
    !revision.includes("@{") &&
    revision.split("/").every((segment) => segment !== "" && !segment.startsWith(".") && !segment.endsWith(".lock")) &&
    !revision.includes("..");
  if (!valid) {
    throw new HubNameError(
      `Revision ${JSON.stringify(revision)} is not a valid branch, tag or commit. Give a name that Git accepts, such as "main", "v1.0" or "refs/pr/1".`,
      { revision },
    );
  }
  validateFilename(revision, "Revision");
  return revision;
}
