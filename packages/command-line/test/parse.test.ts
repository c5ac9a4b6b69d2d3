import {
  choice,
  defined,
  duration,
  flag,
  grouped,
  parseCommandLine,
  positional,
  wholeNumber,
} from "@favor/command-line";
import type { HelpText } from "@favor/command-line";
import { expect, test } from "vitest";

type Found = Readonly<Record<string, unknown>>;

async function parse(argv: readonly string[], columns?: number): Promise<Found | HelpText> {
  return parseCommandLine<Found>(argv, { name: "favor-greet", version: "1.2.3", columns }, (parser, found) =>
    parser
      .usage("$0 <name>")
      .command(
        ["$0 <name>", "greet <name>"],
        "greets somebody",
        (greet) =>
          greet.positional("name", positional("name", "whom to greet")).options({
            ...grouped("Manner:", { tone: choice(["warm", "cool"], "how to say it, as long as this text goes on") }),
            times: wholeNumber("times", "how often", 1, 9),
            loud: flag("shout"),
          }),
        ({ name, tone, times, loud }) => found(defined({ name, tone, times, loud })),
      )
      .command("part <name>", "says goodbye", (part) => part.options({ soon: flag("see you soon") }), found),
  );
}

async function help(...argv: string[]): Promise<string> {
  const parsed = await parse(argv);
  return String("help" in parsed ? parsed.help : "");
}

test("-h and -V say what --help and --version say", async () => {
  expect(await help("-h")).toBe(await help("--help"));
  expect(await help("-V")).toBe("1.2.3");
  expect(await help("-h")).toMatch(/\nManner:\n +--tone [^]*\nOptions:\n/);
  expect(await help("-h")).not.toContain("default: false");
});

test.each([40, 60, 100])("the help is as wide as the terminal: %i columns", async (columns) => {
  const parsed = await parse(["--help"], columns);
  const lines = String("help" in parsed ? parsed.help : "").split("\n");
  const widest = Math.max(...lines.map((line) => line.length));
  expect(widest).toBeLessThanOrEqual(columns);
  expect(widest).toBeGreaterThan(columns - 20);
});

test("a flag that is not given is absent", async () => {
  expect(await parse(["Ada", "--loud"])).toEqual({ name: "Ada", loud: true });
  expect(await parse(["Ada"])).toEqual({ name: "Ada" });
});

test.each([
  [[], "<name> is missing"],
  [[""], "<name> is empty. If it comes from a variable of the shell"],
  [["Ada", "--times"], "--times needs a value"],
  [["Ada", "--tone"], "--tone needs a value"],
  [["Ada", "--tone", "wram"], '--tone takes one of warm, cool; found "wram" (did you mean warm?)'],
  [["Ada", "--tiems", "2"], "Unknown option --tiems (did you mean --times?)"],
  [["Ada", "Bob"], '"Bob": unexpected here'],
  [["prat", "Bob"], 'Unknown command "prat" (did you mean part?)'],
])("%j: what is wrong is said in the user's words", async (argv, message) => {
  await expect(parse(argv)).rejects.toThrow(message);
});

test("completion: a script, and the commands and options that it asks for", async () => {
  expect(await help("completion")).toMatch(/^###-begin-favor-greet[^]*--get-yargs-completions/);
  const completions = async (...words: string[]): Promise<string[]> =>
    (await help("--get-yargs-completions", "favor-greet", ...words)).split("\n");
  expect(await completions("")).toEqual(["greet", "part", "completion"]);
  expect(await completions("pa")).toEqual(["part"]);
  expect(await completions("Ada", "--t")).toEqual(["--tone", "--times"]);
  expect(await completions("Ada", "--tone", "warm", "--t")).toEqual(["--times"]);
  expect(await completions("part", "Ada", "--s")).toEqual(["--soon"]);
  // The shell completes names of files.
  expect(await completions("Ada", "--times", "")).toEqual([""]);
});

test.each([
  [0, "0 s"],
  [59.4, "59 s"],
  [59.6, "1 min 0 s"],
  [359.7, "6 min 0 s"],
  [3599.7, "1 h 0 min"],
  [7199, "2 h 0 min"],
])("a time of %f s is %s", (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});
