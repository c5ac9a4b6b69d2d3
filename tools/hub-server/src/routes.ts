import { createHash } from "node:crypto";

import { failure, fileAnswer, json, type Answer } from "./answer.ts";
import { etagOf, type Content } from "./content.ts";
import { commitOf, type ServedRepository } from "./repositories.ts";

/** A request as the routes see it. */
export interface HubRequest {
  readonly method: string;
  /** Path and query, without the endpoint's own path. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

/** What the routes need to know of their server. */
export interface Hosting {
  readonly repositories: readonly ServedRepository[];
  /** Tokens that the Hub knows. */
  readonly tokens: ReadonlySet<string>;
  /** Entries per page of a tree. */
  readonly pageSize: number;
  /** Where the endpoint is, for links in answers. */
  readonly endpoint: string;
  /** The origin of the large-file storage. */
  readonly storage: string;
}

/** The answer of the Hub itself. */
export function hubAnswer(request: HubRequest, hosting: Hosting): Answer {
  const path = request.url.pathname;
  if (path.startsWith("/api/models") && !path.startsWith("/api/models/")) return search(request, hosting);
  const api = path.startsWith("/api/");
  const token = /^Bearer (.+)$/.exec(request.headers["authorization"] ?? "")?.[1];
  if (token !== undefined && !hosting.tokens.has(token)) {
    return failure(401, "", "Invalid credentials in Authorization header");
  }
  const found = findRepository(path, api, hosting.repositories);
  const hidden =
    found?.repository.private !== undefined && (token === undefined || !found.repository.private.includes(token));
  if (found === undefined || hidden) {
    return failure(token === undefined ? 401 : 404, "RepoNotFound", "Repository not found");
  }
  const { repository, rest } = found;
  if (api) return apiAnswer(request, repository, rest, hosting);
  const match = /^\/resolve\/([^/]+)\/(.+)$/.exec(rest);
  if (match === null) return failure(404, "", "Not found");
  return resolveAnswer(request, repository, decodePath(match[1]!), decodePath(match[2]!), token, hosting);
}

/** The answer of the large-file storage: content by hash, no questions asked. */
export function storageAnswer(request: HubRequest, hosting: Hosting): Answer {
  const sha256 = /^\/lfs\/([0-9a-f]{64})$/.exec(request.url.pathname)?.[1];
  for (const { commits } of hosting.repositories) {
    for (const files of commits.values()) {
      for (const content of files.values()) {
        if (sha256 === undefined || content.sha256 !== sha256) continue;
        // Storage has entity tags of its own: not the content's sha256.
        const etag = createHash("md5").update(sha256).digest("hex");
        return fileAnswer(content, request.headers["range"], { etag: `"${etag}"` });
      }
    }
  }
  return failure(403, "", "AccessDenied");
}

function apiAnswer(request: HubRequest, repository: ServedRepository, rest: string, hosting: Hosting): Answer {
  if (rest === "/refs") {
    const listed = (kind: "heads" | "tags") =>
      [...repository.refs]
        .filter(([name]) => repository.tags.has(name) === (kind === "tags"))
        .map(([name, targetCommit]) => ({ name, ref: `refs/${kind}/${name}`, targetCommit }));
    return json({ branches: listed("heads"), tags: listed("tags"), converts: [] });
  }
  const match = /^\/(revision|tree|paths-info)\/([^/]+)(?:\/(.*))?$/.exec(rest === "" ? "/revision/main" : rest);
  if (match === null) return failure(404, "", "Not found");
  const commit = commitOf(repository, decodePath(match[2]!));
  if (commit === undefined) return failure(404, "RevisionNotFound", `Invalid rev id: ${match[2]}`);
  const files = repository.commits.get(commit)!;
  switch (match[1]) {
    case "revision":
      return json({
        _id: "0",
        id: repository.id,
        sha: commit,
        private: repository.private !== undefined,
        gated: repository.gated === undefined ? false : "manual",
        downloads: 0,
        likes: 0,
        tags: [],
        lastModified: "2026-01-01T00:00:00.000Z",
        createdAt: "2026-01-01T00:00:00.000Z",
        siblings: [...files.keys()].map((rfilename) => ({ rfilename })),
      });
    case "paths-info": {
      const asked = (JSON.parse(request.body) as { paths: string[] }).paths;
      return json(asked.filter((path) => files.has(path)).map((path) => entry(path, files.get(path)!)));
    }
    default:
      return treeAnswer(request, files, decodePath(match[3] ?? ""), hosting);
  }
}

function treeAnswer(
  request: HubRequest,
  files: ReadonlyMap<string, Content>,
  folder: string,
  hosting: Hosting,
): Answer {
  const { searchParams } = request.url;
  const start = Number(searchParams.get("cursor") ?? 0);
  const all = [...files].filter(([path]) => folder === "" || path.startsWith(`${folder}/`));
  if (folder !== "" && all.length === 0) return failure(404, "EntryNotFound", `${folder} does not exist`);
  const page = all.slice(start, start + hosting.pageSize).map(([path, content]) => entry(path, content));
  const folders = new Set(
    start > 0
      ? []
      : all.map(([path]) => path.slice(0, Math.max(0, path.lastIndexOf("/")))).filter((path) => path !== ""),
  );
  const directories = [...folders].map((path) => ({ type: "directory", path, oid: "0".repeat(40), size: 0 }));
  const next = new URL(hosting.endpoint + request.url.pathname + request.url.search);
  next.searchParams.set("cursor", String(start + hosting.pageSize));
  const more = start + hosting.pageSize < all.length;
  return json([...directories, ...page], more ? { link: `<${next.href}>; rel="next"` } : {});
}

function resolveAnswer(
  request: HubRequest,
  repository: ServedRepository,
  revision: string,
  path: string,
  token: string | undefined,
  hosting: Hosting,
): Answer {
  if (repository.gated !== undefined && (token === undefined || !repository.gated.includes(token))) {
    return failure(
      token === undefined ? 401 : 403,
      "GatedRepo",
      `Access to ${repository.type} ${repository.id} is restricted`,
    );
  }
  const commit = commitOf(repository, revision);
  if (commit === undefined) return failure(404, "RevisionNotFound", `Invalid rev id: ${revision}`);
  const committed = { "x-repo-commit": commit };
  const content = repository.commits.get(commit)!.get(path);
  if (content === undefined) return failure(404, "EntryNotFound", "Entry not found", committed);
  const etag = `"${etagOf(content)}"`;
  if (content.sha256 === undefined) return fileAnswer(content, request.headers["range"], { ...committed, etag });
  const signed = `${hosting.storage}/lfs/${content.sha256}?X-Amz-Signature=0123456789abcdef&Expires=4102444800`;
  return {
    status: 302,
    headers: {
      ...committed,
      location: signed,
      "x-linked-etag": etag,
      "x-linked-size": String(content.size),
      ...(content.kind === "xet" ? { "x-xet-hash": content.sha256 } : {}),
    },
    body: new Uint8Array(),
  };
}

function entry(path: string, content: Content): Record<string, unknown> {
  return {
    type: "file",
    path,
    oid: content.oid,
    size: content.size,
    ...(content.sha256 === undefined ? {} : { lfs: { oid: content.sha256, size: content.size, pointerSize: 134 } }),
    ...(content.kind === "xet" ? { xetHash: content.sha256 } : {}),
  };
}

function search(request: HubRequest, hosting: Hosting): Answer {
  const query = request.url.searchParams.get("search")?.toLowerCase() ?? "";
  // The real search is a fuzzy one; the first letters do for this.
  const models = hosting.repositories.filter(
    ({ type, id }) => type === "model" && id.toLowerCase().includes(query.slice(0, 3)),
  );
  return json(models.map(({ id }) => ({ _id: "0", id, private: false, gated: false, downloads: 0, likes: 0 })));
}

/** The repository that a path begins with, for ids of one or two segments. */
function findRepository(
  path: string,
  api: boolean,
  repositories: readonly ServedRepository[],
): { repository: ServedRepository; rest: string } | undefined {
  for (const repository of repositories) {
    const kind = `${repository.type}s/`;
    const prefix = `/${api ? `api/${kind}` : repository.type === "model" ? "" : kind}${repository.id}`;
    if (path === prefix || path.startsWith(`${prefix}/`)) {
      return { repository, rest: path.slice(prefix.length) };
    }
  }
  return undefined;
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
