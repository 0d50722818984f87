import { stringify } from "yaml";
import type { Decision } from "../decision.ts";
import type { Answers } from "./answers.ts";
import { programsOf, starterPolicies } from "./policies.ts";

/** The files of a bundle to begin with. It is valid, and says in comments what a person may want to change. */
export function starterFiles(answers: Answers): ReadonlyMap<string, string> {
  return new Map([
    [
      "bundle.yaml",
      `name: ${answers.name}\nversion: 1.0.0\ndescription: Made by \`glovebox policy new\` after ${answers.base}.\n`,
    ],
    ...starterPolicies(answers),
    ["profile.yaml", profileText(answers)],
    ["tests.yaml", testsText(answers)],
  ]);
}

const RESOURCES: Readonly<Record<Answers["base"], object>> = {
  "locked-down": {
    isolation: { floor: "microvm" },
    resources: { memoryMiB: 1024, vcpus: 1, diskMiB: 4096, pids: 128 },
    timeouts: { execMs: 60_000, maxExecMs: 600_000 },
    limits: { sessions: 1, processes: 8 },
  },
  default: { isolation: { floor: "microvm" }, resources: { memoryMiB: 1024, vcpus: 2, diskMiB: 8192, pids: 512 } },
  development: {
    isolation: { floor: "microvm" },
    resources: { memoryMiB: 2048, vcpus: 2, diskMiB: 16_384, pids: 2048 },
    timeouts: { execMs: 1_800_000, maxExecMs: 21_600_000 },
    writableRoot: true,
  },
};

function profileText({ base, hosts, packages }: Answers): string {
  const minimumAgeHours = { default: 72, apt: 0 };
  return [
    "# The sandbox's shape. Every key may be left out; an unknown one is an error. docs/policy.md lists them all.",
    stringify(RESOURCES[base]).trimEnd(),
    "# Hosts by name (docs/network.md): every one of them is a way out for whatever the sandbox holds.",
    stringify({ egress: { allow: hosts } }).trimEnd(),
    ...(packages.length === 0
      ? ["# No packages: name them here to let them in (docs/packages.md).", "# packages:", '#   allow: ["npm:*"]']
      : [
          "# Packages come through the gateway's registries (docs/packages.md), none younger than three days: most hijacked releases are found out",
          "# within that time. A distribution's security updates are no strangers' releases.",
          stringify({ packages: { allow: packages, minimumAgeHours } }).trimEnd(),
        ]),
    "",
  ].join("\n");
}

interface StarterTest {
  readonly name: string;
  readonly tool: string;
  readonly arguments: object;
  readonly expect: Decision["outcome"];
}

const SHELL = { yes: "permit", no: "deny", ask: "ask" } as const;

function testsText(answers: Answers): string {
  const note = "# Would-be calls with the decision that they must get. Checked whenever the bundle is loaded.\n";
  return `${note}${stringify(testsOf(answers), { lineWidth: 0 })}`;
}

function testsOf(answers: Answers): StarterTest[] {
  const { base, shell, hosts } = answers;
  const programs = programsOf(answers);
  const expected = (permitted: boolean) => (permitted ? ("permit" as const) : ("deny" as const));
  const roots = ["sudo", "su", "doas"];
  const listed = (programs ?? ["python3"]).filter((it) => !roots.includes(it));
  return [
    ...listed.map((it) => ({
      name: `${it} may be run`,
      tool: "exec",
      arguments: { argv: [it] },
      expect: expected(true),
    })),
    {
      name: programs ? "another program may not be run" : "so may any other program",
      tool: "exec",
      arguments: { argv: ["/tmp/some-other-program"] },
      expect: expected(programs === undefined),
    },
    { name: "nobody becomes root", tool: "exec", arguments: { argv: ["sudo", "id"] }, expect: expected(false) },
    { name: "shell scripts", tool: "shell", arguments: { script: "ls | wc -l" }, expect: SHELL[shell] },
    {
      name: "the workspace may be written",
      tool: "writeFile",
      arguments: { path: "a.txt", content: "a" },
      expect: expected(true),
    },
    {
      name: "system files",
      tool: "writeFile",
      arguments: { path: "/etc/passwd", content: "" },
      expect: expected(base === "development"),
    },
    ...(hosts.some((it) => it.includes("example.net"))
      ? []
      : [
          {
            name: "a host that nobody named",
            tool: "connect",
            arguments: { host: "www.example.net" },
            expect: expected(false),
          },
        ]),
  ];
}
