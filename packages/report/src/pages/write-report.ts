import { escapedJson } from "@favor/checkpoints";
import { speedFile } from "@favor/checkpoints/node";
import type { OutputFolder } from "@favor/checkpoints/node";
import type { FavorFile } from "../record/favor-file.ts";
import type { MeasuredSpeed } from "../record/measured-speed.ts";
import { modelCard } from "./model-card.ts";
import type { Html } from "./page.ts";
import { reportPage } from "./report.ts";

/**
 * Writes the reports of a folder: `favor.json` for programs, `report.html` for people, `README.md` for the Hub.
 *
 * @param favor - `files` is filled in with everything that the output holds by now, so write the rest before.
 * @param first - sections to put first on the page; default: none.
 * @param speed - how long both models take; default: not measured. It goes to the page and to a separate file that
 * `favor.json` does not list, so that all other files are the same from run to run.
 * @returns the contents of `favor.json`.
 * @throws {OutputError} `output-unwritable`.
 */
export async function writeReport(
  output: OutputFolder,
  favor: FavorFile,
  first: readonly Html[] = [],
  speed?: MeasuredSpeed,
): Promise<FavorFile> {
  await output.write("report.html", reportPage(favor, first, speed));
  await output.write("README.md", modelCard(favor));
  const listed = { ...favor, files: await output.files() };
  await output.write("favor.json", `${escapedJson(listed)}\n`);
  if (speed !== undefined) await output.write(speedFile, `${escapedJson(speed)}\n`);
  return listed;
}
