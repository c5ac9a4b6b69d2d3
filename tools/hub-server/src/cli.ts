import { serve, UsageError } from "./command.ts";

try {
  const served = await serve(process.argv.slice(2));
  if ("usage" in served) {
    console.log(served.usage);
    process.exitCode = served.exitCode;
  } else {
    console.log(`HF_ENDPOINT=${served.server.endpoint}`);
    for (const { id, refs } of served.server.repositories) console.log(`  ${id} at ${refs.get("main")}`);
  }
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`hub-server: ${error.message}`);
  process.exitCode = 2;
}
