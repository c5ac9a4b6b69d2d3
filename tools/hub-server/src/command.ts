import { statSync } from "node:fs";
import { basename } from "node:path";
import { parseArgs } from "node:util";

import { namedFault } from "./faults.ts";
import { folderFiles } from "./repositories.ts";
import { HubServer } from "./server.ts";

const usage = `Runs a Hugging Face Hub on this machine.

  npm run hub -- [org/name=]folder ... [options]

  --port N        the port to listen on; 8970 by default
  --token TOKEN   a token that the Hub accepts (repeatable)
  --private       show the repositories only to requests with a token
  --gated         let only requests with a token download
  --fault FAULT   spoil every file: cut:N, stall:N, status:N, corrupt, gzip, ignore-range, no-length

Point programs at it with HF_ENDPOINT.`;

/** What the command line asked for cannot be done; the message says why and what to do. */
export class UsageError extends Error {}

/** What a command line leads to: a Hub that runs until it is closed, or a text to print. */
export type Served = { readonly server: HubServer } | { readonly usage: string; readonly exitCode: 0 | 2 };

/**
 * Starts the Hub that a command line (without the program's name) asks for.
 *
 * @throws {UsageError} for an unknown option or fault, a port that is none or in use, and a folder that cannot be read.
 */
export async function serve(argv: readonly string[]): Promise<Served> {
  const { values, positionals } = parse(argv);
  if (values.help || positionals.length === 0) return { usage, exitCode: values.help ? 0 : 2 };
  const port = portOf(values.port);
  const fault = values.fault === undefined ? undefined : faultOf(values.fault);
  const repositories = positionals.map((text) => {
    const [id, folder] = text.includes("=")
      ? (text.split("=", 2) as [string, string])
      : [`local/${basename(text)}`, text];
    return {
      id,
      files: filesOf(folder),
      ...(values.private ? { private: values.token } : {}),
      ...(values.gated ? { gated: values.token } : {}),
    };
  });
  const server = await HubServer.start({ repositories, tokens: values.token, port }).catch((error: unknown) => {
    throw hasCode(error, "EADDRINUSE", "EACCES")
      ? new UsageError(
          `Port ${port} is in use, or you may not open it. Choose another with --port, or 0 for any free port.`,
        )
      : error;
  });
  if (fault !== undefined) server.fault({ path: /\/resolve\/|\/lfs\// }, fault);
  return { server };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        port: { type: "string", default: "8970" },
        token: { type: "string", multiple: true, default: [] },
        private: { type: "boolean", default: false },
        gated: { type: "boolean", default: false },
        fault: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(`${(error as Error).message.replace(/\.$/, "")}. See --help.`);
  }
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port < 65536) return port;
  throw new UsageError(`--port takes a number from 0 to 65535, found ${JSON.stringify(text)}.`);
}

function faultOf(text: string): ReturnType<typeof namedFault> {
  try {
    return namedFault(text);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function filesOf(folder: string): ReturnType<typeof folderFiles> {
  const isFolder = statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true;
  if (!isFolder) throw new UsageError(`${folder} is not a folder. Give folders of repositories: [org/name=]folder.`);
  try {
    return folderFiles(folder);
  } catch (error) {
    throw new UsageError(`${folder} cannot be read: ${(error as Error).message}.`);
  }
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
