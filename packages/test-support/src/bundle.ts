import { rolldown } from "rolldown";

/**
 * The one ES module that a TypeScript source becomes in a browser, our packages taken from their sources.
 *
 * @param external what stays imported by name; default nothing
 */
export async function bundle(input: string, external: RegExp[] = []): Promise<string> {
  const conditionNames = ["@favor/source", "import", "default"];
  const build = await rolldown({ input, external, platform: "browser", resolve: { conditionNames } });
  const { output } = await build.generate({ format: "esm", codeSplitting: false });
  await build.close();
  return output[0].code;
}
