/** Ordinary scripts, and the argvs that bash makes of them. */
export const ORDINARY_SCRIPTS: readonly (readonly [script: string, argvs: readonly (readonly string[])[]])[] = [
  ["ls", [["ls"]]],
  ["ls -la /workspace", [["ls", "-la", "/workspace"]]],
  ["  ls  -l\t-a  ", [["ls", "-l", "-a"]]],
  ["git status", [["git", "status"]]],
  [
    "git status; git diff",
    [
      ["git", "status"],
      ["git", "diff"],
    ],
  ],
  [
    "git add . && git commit -m 'fix: it works'",
    [
      ["git", "add", "."],
      ["git", "commit", "-m", "fix: it works"],
    ],
  ],
  ['git commit -m "it\'s done"', [["git", "commit", "-m", "it's done"]]],
  ['git commit -m "say \\"yes\\""', [["git", "commit", "-m", 'say "yes"']]],
  ["git log --oneline -5", [["git", "log", "--oneline", "-5"]]],
  [
    "git log --format='%h %s' | head -3",
    [
      ["git", "log", "--format=%h %s"],
      ["head", "-3"],
    ],
  ],
  ["git diff HEAD~1 HEAD^ -- src", [["git", "diff", "HEAD~1", "HEAD^", "--", "src"]]],
  ["git show stash@{0}", [["git", "show", "stash@{0}"]]],
  ["git rev-parse @{upstream}", [["git", "rev-parse", "@{upstream}"]]],
  ["git checkout -b feature/x#1", [["git", "checkout", "-b", "feature/x#1"]]],
  ["npm test", [["npm", "test"]]],
  [
    "npm test 2>&1 | tail -20",
    [
      ["npm", "test"],
      ["tail", "-20"],
    ],
  ],
  [
    "npm ci && npm run build && npm test",
    [
      ["npm", "ci"],
      ["npm", "run", "build"],
      ["npm", "test"],
    ],
  ],
  [
    "npm test || echo failed",
    [
      ["npm", "test"],
      ["echo", "failed"],
    ],
  ],
  ["npm install --save-exact left-pad@1.3.0", [["npm", "install", "--save-exact", "left-pad@1.3.0"]]],
  [
    "cd /workspace/app && npm test",
    [
      ["cd", "/workspace/app"],
      ["npm", "test"],
    ],
  ],
  ["make CC=gcc -j4", [["make", "CC=gcc", "-j4"]]],
  ["./configure --prefix=/usr/local", [["./configure", "--prefix=/usr/local"]]],
  [
    "grep -rn 'TODO' src | wc -l",
    [
      ["grep", "-rn", "TODO", "src"],
      ["wc", "-l"],
    ],
  ],
  ['grep -E "^a+$|b" file.txt', [["grep", "-E", "^a+$|b", "file.txt"]]],
  ['grep -c "total: $" x', [["grep", "-c", "total: $", "x"]]],
  ["grep x$ file", [["grep", "x$", "file"]]],
  ["rg --files -g '*.ts' 2>/dev/null", [["rg", "--files", "-g", "*.ts"]]],
  [
    "find . -name '*.ts' ! -path './node_modules/*'",
    [["find", ".", "-name", "*.ts", "!", "-path", "./node_modules/*"]],
  ],
  ["find . -name \\*.ts", [["find", ".", "-name", "*.ts"]]],
  ["sed -n '1,20p' README.md", [["sed", "-n", "1,20p", "README.md"]]],
  ["sed -i 's/a/b/g' x.txt", [["sed", "-i", "s/a/b/g", "x.txt"]]],
  [
    "awk '{ print $1 }' x | sort -u",
    [
      ["awk", "{ print $1 }", "x"],
      ["sort", "-u"],
    ],
  ],
  [
    "which node >/dev/null 2>&1 && node -v",
    [
      ["which", "node"],
      ["node", "-v"],
    ],
  ],
  ["cat a.txt &> /dev/null", [["cat", "a.txt"]]],
  [
    "echo oops >&2; exit 1",
    [
      ["echo", "oops"],
      ["exit", "1"],
    ],
  ],
  [
    "echo 'a\nb' | wc -l",
    [
      ["echo", "a\nb"],
      ["wc", "-l"],
    ],
  ],
  ["printf '%s\\n' a b | sort", [["printf", "%s\\n", "a", "b"], ["sort"]]],
  ["python3 -c 'print(1)'", [["python3", "-c", "print(1)"]]],
  ["node -e \"console.log('hi')\"", [["node", "-e", "console.log('hi')"]]],
  ["# first\nls # here\n\n# then\npwd\n", [["ls"], ["pwd"]]],
  ["git log \\\n  --oneline \\\n  -3", [["git", "log", "--oneline", "-3"]]],
  ["ls |\n  head -1", [["ls"], ["head", "-1"]]],
  ["cat 'my file' my\\ other", [["cat", "my file", "my other"]]],
  ["echo Grüße 日本語 ✓", [["echo", "Grüße", "日本語", "✓"]]],
  ["echo ''", [["echo", ""]]],
  [
    "cargo test --package x -- --nocapture |& head",
    [["cargo", "test", "--package", "x", "--", "--nocapture"], ["head"]],
  ],
  ["curl -fsS 'https://example.org/?a=b&c=d'", [["curl", "-fsS", "https://example.org/?a=b&c=d"]]],
  ["curl -fsS https://example.org/a", [["curl", "-fsS", "https://example.org/a"]]],
  ["true;", [["true"]]],
];
