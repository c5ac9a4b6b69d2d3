import { readFileSync } from "node:fs";

const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor as FunctionConstructor;

/** What an example printed, and what its README says that it prints. */
export interface ReadmeExample {
  readonly printed: string;
  readonly promised: string;
}

/**
 * Runs the first JavaScript example of a README as it stands there. The first block of plain text after it is what the
 * README promises as its output.
 *
 * @param readme - the README's address.
 * @param modules - what its imports give, by specifier.
 * @param values - values in place of quoted strings, by the string: paths of real files for `"model.onnx"`.
 * @throws Error if the README has no such example, or the example imports a module that is not in `modules`
 */
export async function runReadmeExample(
  readme: URL,
  modules: Readonly<Record<string, object>>,
  values: Readonly<Record<string, string>> = {},
): Promise<ReadmeExample> {
  const [, code, promised] = /```js\n(.*?)```.*?```(?:text)?\n(.*?)```/s.exec(readFileSync(readme, "utf8")) ?? [];
  if (code === undefined || promised === undefined) throw new Error(`${readme.href} has no example with its output`);
  const scope = new Map<string, unknown>();
  let body = code.replaceAll(/^import (?:\{ ([^}]*) \} from )?"([^"]+)";\n/gm, (_, names, specifier: string) => {
    const module = new Map(Object.entries(modules[specifier] ?? {}));
    for (const name of names === undefined ? [] : String(names).split(", ")) {
      if (!module.has(name)) throw new Error(`"${specifier}" gives no ${name}, which ${readme.href} imports`);
      scope.set(name, module.get(name));
    }
    return "";
  });
  for (const [text, value] of Object.entries(values)) body = body.replaceAll(`"${text}"`, JSON.stringify(value));
  const lines: string[] = [];
  const output = { log: (...parts: unknown[]) => void lines.push(parts.join(" ")) };
  await new AsyncFunction(...scope.keys(), "console", body)(...scope.values(), output);
  return { printed: `${lines.join("\n")}\n`, promised };
}
