import fc from "fast-check";
import { HOSTILE_SCRIPTS } from "./hostile-scripts.ts";
import { ORDINARY_SCRIPTS } from "./ordinary-scripts.ts";

/** Pieces that words are made of; those of which words mean what they say come first. */
const PLAIN = [
  "a",
  "ls",
  "-x",
  "--y=1",
  "A=b",
  "HEAD",
  "1",
  "2",
  "/dev/null",
  ".",
  ":",
  "x:y",
  "ä",
  "✓",
  "true",
  "if",
  "\\ ",
];
const QUOTED = [
  "'b c'",
  '"d e"',
  "''",
  '""',
  "'\"'",
  '"\'"',
  "'\\'",
  '"\\""',
  '"\\\\"',
  '"\\a"',
  '"\\$x"',
  '"x$"',
  '"^a$|b"',
  "'$x'",
  "'a\nb'",
  '"a\nb"',
  '"a\\\nb"',
  "'#'",
  '"!"',
  "'*'",
  "'~'",
  "'{a,b}'",
];
const ESCAPED = ["\\a", "\\'", '\\"', "\\\\", "\\$", "\\#", "\\;", "\\*", "\\~", "\\{", "\\!", "\\&", "\\`"];
const ODD = ["#", "~", "~1", "^", "@{1}", "@{", "}", "{", "]", "[", "!", "%", "=", "=~", ":~", ",", "$", "+", "@"];
const NASTY = [
  "$x",
  "$" + "{x}",
  "$(ls)",
  "`ls`",
  "$((1))",
  "$'a'",
  '$"a"',
  "$'\\x41'",
  "*",
  "?",
  "[a]",
  "{a,b}",
  "{1..2}",
  "{a}",
  "{fd}",
  "~/x",
  "~+",
  "(",
  ")",
  "<",
  ">",
  "<<",
  "<<<",
  "<(",
  "&",
  "\\",
  "\\\n",
  "'",
  '"',
  "`",
  "\t",
  "\r",
  "\u00a0",
  "\u200b",
  "\u202e",
  "!(a)",
  "@(a)",
  "((",
  "[[",
  "]]",
  "\\\r",
  "\f",
  "\v",
  "\u0001",
  "\u007f",
];
const BETWEEN = [
  "; ",
  ";",
  "\n",
  " && ",
  "&&",
  " || ",
  "||",
  " | ",
  "|",
  " |& ",
  " |&\n",
  "\n\n",
  " ;\n",
  " &&\n",
  " |\n # c\n",
  " # c\n",
  " #'\n",
  '\n#"\n',
  "\n# $(x)\n",
  " &&\\\n",
  "||\n",
];
const ODD_BETWEEN = ["\\\n|", ";;", "&", " & ", "\n;", "|\\\n|", "&\\\n&", " #\\\n", "\r\n", ";&"];
const BLANKS = [" ", "  ", "\t", " \\\n", " \\\n  "];
const REDIRECTIONS = [
  ">/dev/null",
  "2>/dev/null",
  "2>&1",
  ">&2",
  "1>&2",
  "&>/dev/null",
  "</dev/null",
  ">> /dev/null",
  "0</dev/null",
  "&>>/dev/null",
  "2> /dev/null",
];
const ODD_REDIRECTIONS = [
  "2>&1|a",
  "3>/dev/null",
  "2>&10",
  ">&1a",
  ">/dev/nullx",
  ">/dev/null#",
  "<>/dev/null",
  ">|/dev/null",
  "2>&-",
  "2>& 1",
  ">\\\n/dev/null",
  "2\\\n>/dev/null",
];
const NAMES = [
  "ls",
  "cat",
  "git",
  "echo",
  "a",
  "cd",
  "printf",
  "true",
  ":",
  "exit",
  "find",
  "\\ls",
  "'ls'",
  '"l"s',
  "x1",
  "2",
];
const ODD_NAMES = ["eval", "if", "time", "!", "{", "sh", "#", "command", "-a", "%", "''", "A=b", "."];

const from = (pieces: readonly string[]) => fc.constantFrom(...pieces);
const mostly = (usual: readonly string[], odd: readonly string[]) =>
  fc.oneof({ weight: 30, arbitrary: from(usual) }, { weight: 1, arbitrary: from(odd) });
const name = mostly(NAMES, ODD_NAMES);
const blank = mostly(BLANKS, ["\\\n"]);
const between = mostly(BETWEEN, ODD_BETWEEN);
const piece = fc.oneof(
  { weight: 30, arbitrary: from(PLAIN) },
  { weight: 30, arbitrary: from(QUOTED) },
  { weight: 20, arbitrary: from(ESCAPED) },
  { weight: 6, arbitrary: from(ODD) },
  { weight: 1, arbitrary: from(NASTY) },
);
const word = fc.oneof(
  { weight: 30, arbitrary: fc.array(piece, { minLength: 1, maxLength: 4 }).map((it) => it.join("")) },
  { weight: 2, arbitrary: from(REDIRECTIONS) },
  { weight: 1, arbitrary: from(ODD_REDIRECTIONS) },
);
const command = fc
  .tuple(name, fc.array(fc.tuple(blank, word), { maxLength: 4 }), from(["", "", " ", "\t"]))
  .map(([name, words, end]) => name + words.map(([blank, it]) => blank + it).join("") + end);
const structured = fc
  .tuple(
    command,
    fc.array(fc.tuple(between, command), { maxLength: 3 }),
    from(["", "", "", "\n", ";", " # end", " \\\n", "\\", " &&"]),
  )
  .map(([first, others, end]) => first + others.map(([between, it]) => between + it).join("") + end);
const anything = fc
  .array(
    fc.oneof(
      from([...PLAIN, ...QUOTED, ...ESCAPED, ...ODD, ...NASTY]),
      from([...BETWEEN, ...ODD_BETWEEN, ...BLANKS, ...REDIRECTIONS, ...ODD_REDIRECTIONS, ...NAMES, ...ODD_NAMES]),
    ),
    { maxLength: 10 },
  )
  .map((it) => it.join(""));
const inserted = from([...NASTY, ...ODD, ...BETWEEN, ...ODD_BETWEEN, ...BLANKS, ...REDIRECTIONS, ...ODD_REDIRECTIONS]);
const mutated = (scripts: fc.Arbitrary<string>) =>
  fc.tuple(scripts, inserted, fc.nat()).map(([script, piece, place]) => {
    const at = place % (script.length + 1);
    return script.slice(0, at) + piece + script.slice(at);
  });

/** What people and models write, beside what attackers do, on either side of anything. */
const written = from([
  ...ORDINARY_SCRIPTS.map(([script]) => script),
  ...Object.values(HOSTILE_SCRIPTS).flatMap((it) => it.map(([script]) => script)),
]);
const joined = fc.tuple(from(ORDINARY_SCRIPTS.map(([script]) => script)), between, written).map((it) => it.join(""));

/** Scripts of which some are simple, many nearly so, and some anything but. */
export const shellScript = fc.oneof(
  { weight: 4, arbitrary: structured },
  { weight: 3, arbitrary: mutated(structured) },
  { weight: 1, arbitrary: joined },
  { weight: 1, arbitrary: mutated(joined) },
  { weight: 1, arbitrary: anything },
);
