// Run by processes.test.ts in a process of its own: downloads one file and prints where it is.
import { openHub } from "../../src/node/index.ts";

const [endpoint, cacheFolder, repository, path] = process.argv.slice(2) as [string, string, string, string];
const hub = openHub({
  endpoint,
  cacheFolder,
  environment: { HF_HOME: cacheFolder },
  parallelBytes: 8 * 2 ** 20,
  pieceBytes: 2 ** 20,
});
console.log(
  await hub.file(repository, path, { onEvent: (event) => event.type === "progress" && console.error(event.fileBytes) }),
);
