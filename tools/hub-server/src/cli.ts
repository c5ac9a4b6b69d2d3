import { basename } from "node:path";
import { parseArgs } from "node:util";

import { namedFault } from "./faults.ts";
import { folderFiles } from "./repositories.ts";
import { HubServer } from "./server.ts";

const usage = `A Hugging Face Hub on this machine.

  npm run hub -- [org/name=]folder ... [options]

  --port N        8970 by default
  --token TOKEN   a token that the Hub knows (repeatable)
  --private       the repositories are seen with a token only
  --gated         the repositories are downloaded with a token only
  --fault FAULT   for every file: cut:N, stall:N, status:N, corrupt, gzip, ignore-range, no-length

Point programs at it with HF_ENDPOINT.`;

const { values, positionals } = parseArgs({
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

if (values.help || positionals.length === 0) {
  console.log(usage);
  process.exitCode = values.help ? 0 : 2;
} else {
  const repositories = positionals.map((text) => {
    const [id, folder] = text.includes("=")
      ? (text.split("=", 2) as [string, string])
      : [`local/${basename(text)}`, text];
    return {
      id,
      files: folderFiles(folder),
      ...(values.private ? { private: values.token } : {}),
      ...(values.gated ? { gated: values.token } : {}),
    };
  });
  const server = await HubServer.start({ repositories, tokens: values.token, port: Number(values.port) });
  if (values.fault !== undefined) server.fault({ path: /\/resolve\/|\/lfs\// }, namedFault(values.fault));
  console.log(`HF_ENDPOINT=${server.endpoint}`);
  for (const { id, refs } of server.repositories) console.log(`  ${id} at ${refs.get("main")}`);
}
