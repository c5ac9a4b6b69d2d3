import ts from "typescript";

/** A test that carries a title: it runs (where its condition holds, if it has one), or is skipped wherever it is. */
export type Titled = "runs" | "skipped";

const runners = new Set(["test", "it", "describe", "suite"]);

/** The identifiers of a callee, outermost last: `test.skip.each(cases)` gives test, skip, each. */
function chain(callee: ts.Expression): string[] {
  if (ts.isIdentifier(callee)) return [callee.text];
  if (ts.isPropertyAccessExpression(callee)) return [...chain(callee.expression), callee.name.text];
  if (ts.isCallExpression(callee)) return chain(callee.expression);
  if (ts.isTaggedTemplateExpression(callee)) return chain(callee.tag);
  return [];
}

/** Whether a call, or one that it is chained to, has `true` for the condition to skip, or `false` for that to run. */
function skipsByConstant(callee: ts.Expression): boolean {
  if (ts.isPropertyAccessExpression(callee)) return skipsByConstant(callee.expression);
  if (!ts.isCallExpression(callee)) return false;
  const [name, condition] = [chain(callee.expression).at(-1), callee.arguments[0]?.kind];
  const isConstant =
    (name === "skipIf" && condition === ts.SyntaxKind.TrueKeyword) ||
    (name === "runIf" && condition === ts.SyntaxKind.FalseKeyword);
  return isConstant || skipsByConstant(callee.expression);
}

const isSkipping = (call: ts.CallExpression): boolean =>
  chain(call.expression).some((name) => name === "skip" || name === "todo") ||
  skipsByConstant(call.expression) ||
  call.arguments.some(
    (argument) =>
      ts.isObjectLiteralExpression(argument) &&
      argument.properties.some(
        (property) =>
          ts.isPropertyAssignment(property) &&
          ["skip", "todo"].includes(property.name.getText()) &&
          property.initializer.kind !== ts.SyntaxKind.FalseKeyword,
      ),
  );

/** Nodes around a node, the nearest first. */
function ancestors(node: ts.Node): ts.Node[] {
  return node.parent === undefined ? [] : [node.parent, ...ancestors(node.parent)];
}

const isRunner = (call: ts.CallExpression): boolean => runners.has(chain(call.expression)[0] ?? "");

/** Whether a node lies in the body of a test: what is said there titles nothing. */
function isInBody(node: ts.Node): boolean {
  const path = [node, ...ancestors(node)];
  return path.some((call, at) => {
    if (!ts.isCallExpression(call) || !["test", "it"].includes(chain(call.expression)[0] ?? "")) return false;
    const argument = path[at - 1]!;
    return ts.isArrowFunction(argument) || ts.isFunctionExpression(argument);
  });
}

/**
 * The tests and groups of a test file whose title is `title`, or in whose table of cases it stands, one entry for each
 * place where it does. The title is compared as it is written, between its quotes.
 */
export function titledTests(file: string, source: string, title: string): Titled[] {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true);
  const nodes: ts.Node[] = [];
  const visit = (node: ts.Node): void => {
    nodes.push(node);
    ts.forEachChild(node, visit);
  };
  visit(tree);

  const verdictOf = (node: ts.Node, seen: ReadonlySet<string> = new Set()): Titled[] => {
    if (isInBody(node)) return [];
    const path = ancestors(node);
    const calls = path.filter((one) => ts.isCallExpression(one));
    // Within an argument of a test, group or table, or of a function of the file that makes some.
    if (calls.some((call) => isSkipping(call))) return ["skipped"];
    const variable = path.find((one) => ts.isVariableDeclaration(one) || ts.isFunctionDeclaration(one));
    const outside = variable === undefined ? calls : calls.filter((call) => call.pos > variable.pos);
    if (outside.some((call) => isRunner(call) || ts.isExpressionStatement(call.parent))) return ["runs"];
    const loop = path.find((one) => ts.isForOfStatement(one));
    if (loop !== undefined && [...chainsIn(loop.statement)].some((name) => runners.has(name))) return ["runs"];
    // A table of its own: what reads it decides.
    const name = variable?.name;
    if (name === undefined || !ts.isIdentifier(name) || seen.has(name.text)) return [];
    const reads = nodes.filter((one) => ts.isIdentifier(one) && one.text === name.text && one !== name);
    const verdicts = reads.flatMap((read) => verdictOf(read, new Set([...seen, name.text])));
    return [...new Set(verdicts)];
  };
  return nodes
    .filter((node) => ts.isStringLiteralLike(node) || ts.isTemplateExpression(node))
    .filter((node) => node.getText().slice(1, -1) === title)
    .flatMap((node) => verdictOf(node));
}

/** The first identifier of each callee within a node. */
function chainsIn(node: ts.Node): Set<string> {
  const found = new Set<string>();
  const visit = (one: ts.Node): void => {
    if (ts.isCallExpression(one)) found.add(chain(one.expression)[0] ?? "");
    ts.forEachChild(one, visit);
  };
  visit(node);
  return found;
}
