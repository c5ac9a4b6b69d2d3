import { expect, test } from "vitest";
import { parseEinsum } from "../../src/graph/einsum.ts";

test.each([
  ["bhid,bhjd->bhij", [], { inputs: ["bhid", "bhjd"], output: "bhij" }],
  [" b i d , b j d -> b i j ", [], { inputs: ["bid", "bjd"], output: "bij" }],
  ["ij,jk", [], { inputs: ["ij", "jk"], output: "ik" }],
  ["kj,ji", [], { inputs: ["kj", "ji"], output: "ik" }],
  ["i,i->", [], { inputs: ["i", "i"], output: "" }],
  ["...qhd,...khd->...hqk", [5, 4], { inputs: ["10qhd", "0khd"], output: "10hqk" }],
  ["...ij,...jk", [4, 3], { inputs: ["10ij", "0jk"], output: "10ik" }],
  ["...ij->ij", [2], { inputs: ["ij"], output: "ij" }],
])("%s over ranks %j", (equation, ranks, expected) => expect(parseEinsum(equation, ranks)).toEqual(expected));

test.each([
  ["a repeated label", "ii->i", [2]],
  ["an ellipsis over an operand of unknown rank", "...ij->...ij", []],
  ["an operand with too few axes", "...ijk->...k", [2]],
  ["two arrows", "i->i->i", [1]],
  ["digits", "0i->i", [2]],
  ["nothing", "", []],
  ["other signs", "i+j->i", [2]],
])("%s is not parsed", (_, equation, ranks) => expect(parseEinsum(equation, ranks)).toBeUndefined());
