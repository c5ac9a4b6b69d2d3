/**
 * What a terminal or a browser obeys or hides instead of showing it: control characters (C0, C1), bidirectional marks and
 * overrides, zero-width characters, separators of lines, halves of characters.
 */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}]/gu;

/** The longest text that is shown whole, in UTF-16 units: longer than any path or message of ours. */
const shownLength = 8192;

/**
 * A text from a model, a data file or a server, as it may be shown: on one line, with {@link unseen} characters written as
 * `\u{202e}`. A text of more than 8,192 characters loses its middle.
 */
export function visibleText(text: string): string {
  return escapeUnseen(shortened(text));
}

/** Lines of our own that hold such texts: as {@link visibleText}, but line ends stay, and the length. */
export function visibleLines(text: string): string {
  return text.split("\n").map(escapeUnseen).join("\n");
}

/** The same object with every text in it as {@link visibleText} gives it, keys included. */
export function visibleObject<T>(value: T): T {
  return mapTexts(value, visibleText) as T;
}

/** JSON to be shown: as {@link escapedJson}, and texts of more than 8,192 characters lose their middle. */
export function visibleJson(value: object): string {
  return escapedJson(mapTexts(value, shortened));
}

/** JSON, indented, in which no {@link unseen} character stands as itself. It parses to the same value. */
export function escapedJson(value: unknown): string {
  const json = JSON.stringify(value, undefined, 2);
  // JSON.stringify escapes C0 characters itself; its own line ends stay.
  return json.replaceAll(unseen, (character) => (character === "\n" ? character : escapedUnits(character)));
}

function shortened(text: string): string {
  if (text.length <= shownLength) return text;
  const half = shownLength / 4;
  return `${text.slice(0, half)} ... (${text.length} characters) ... ${text.slice(-half)}`;
}

function escapeUnseen(text: string): string {
  return text.replaceAll(unseen, (character) => String.raw`\u{${character.codePointAt(0)!.toString(16)}}`);
}

function escapedUnits(character: string): string {
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
  return units.map((unit) => String.raw`\u${unit.toString(16).padStart(4, "0")}`).join("");
}

/** Plain objects and arrays are copied with their texts mapped; anything else stays as it is. */
function mapTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === "string") return change(value);
  if (Array.isArray(value)) return value.map((each) => mapTexts(each, change));
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [change(key), mapTexts(each, change)]));
}
