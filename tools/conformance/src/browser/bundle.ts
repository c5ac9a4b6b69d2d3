import { rolldown } from "rolldown";

/** A page's script as one file: our packages, bundled without configuration except for where their sources are. */
export async function bundle(input: string): Promise<string> {
  const page = await rolldown({ input, platform: "browser", resolve: { conditionNames: ["@favor/source", "import"] } });
  const { output } = await page.generate({ format: "esm" });
  await page.close();
  return output[0].code;
}
