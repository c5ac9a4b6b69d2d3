/** Files that describe the folder they are in, for programs, people and the Hub. */
export const reportFiles: readonly string[] = ["favor.json", "report.html", "README.md"];
