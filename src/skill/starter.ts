/** A skill to begin with, which is valid and works: what is in its files by path. `name` is that of its folder. */
export function starterSkill(name: string): ReadonlyMap<string, string> {
  return new Map([
    ["SKILL.md", introduction(name)],
    ["capabilities.yaml", CAPABILITIES],
    ["scripts/count.py", SCRIPT],
    ["tests.yaml", TESTS],
  ]);
}

/** Its only capability. */
export const STARTER_CAPABILITY = "countWords";

function introduction(name: string): string {
  return `---
name: ${JSON.stringify(name)}
description: Counts the lines, words and characters of a text file. For questions about how long a text is.
license: Apache-2.0
---

# Counting words

1. Find the file with \`listDirectory\` or \`searchFiles\`.
2. Call \`${STARTER_CAPABILITY}\` with its path. The answer is JSON with \`lines\`, \`words\` and \`characters\`.

A file that is not UTF-8 text is counted as far as it can be read: what can't is one character each.
`;
}

const CAPABILITIES = `version: 0.1.0
needs:
  programs: [python3]
capabilities:
  - name: ${STARTER_CAPABILITY}
    title: Count words
    description: Counts the lines, words and characters of a text file and returns them as JSON.
    examples:
      - how many words has report.md?
      - count the lines of src/main.py
      - is this text longer than 500 words?
    readOnly: true
    parameters:
      type: object
      required: [path]
      properties:
        path: { type: string, format: path, description: The text file. }
        longest: { type: boolean, default: false, description: Whether to say how long the longest line is as well. }
    steps:
      # One template is one argument, whatever its value: no shell reads it.
      - argv: [python3, "{skill}/scripts/count.py", "--file={path}", { arg: "--longest", when: longest }]
    output: { kind: json }
`;

const SCRIPT = `"""Writes how many lines, words and characters a file has, as JSON."""

import argparse
import json
import pathlib

parser = argparse.ArgumentParser()
parser.add_argument("--file", type=pathlib.Path, required=True)
parser.add_argument("--longest", action="store_true")
options = parser.parse_args()

text = options.file.read_text(encoding="utf-8", errors="replace")
lines = text.splitlines()
counts = {"lines": len(lines), "words": len(text.split()), "characters": len(text)}
if options.longest:
    counts["longest"] = max(map(len, lines), default=0)
print(json.dumps(counts))
`;

const TESTS = `- name: lines, words and characters
  files: { /workspace/a.txt: "one two\\nthree\\n" }
  capability: ${STARTER_CAPABILITY}
  arguments: { path: a.txt, longest: true }
  expect:
    json: { lines: 2, words: 3, characters: 14, longest: 7 }
- name: a file that is not there
  capability: ${STARTER_CAPABILITY}
  arguments: { path: none.txt }
  expect:
    exitCode: 1
`;
