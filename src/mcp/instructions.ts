import type { Profile } from "../policy/profile.ts";

/** What a model is told about the server at `initialize`. Every line costs every conversation: keep it short. */
export function instructions(profile: Profile, grants: readonly string[], hasSkills: boolean): string {
  const mounts = profile.mounts.map((it) => `${it.name}${it.mode === "rw" ? " (read and write)" : ""}`).join(", ");
  const theirs =
    mounts === ""
      ? "create what you need with writeFile"
      : `copy them with importFiles and, where it says so, back with exportFiles. Mounts: ${mounts}`;
  const { memoryMiB, vcpus, diskMiB } = profile.resources;
  const yieldSeconds = Math.round(profile.timeouts.yieldMs / 1000);
  return [
    "Glovebox gives you a sandbox of your own: a Linux container in a virtual machine. Nothing you do there reaches the user's computer.",
    `It has ${vcpus} CPUs, ${memoryMiB} MiB of memory and ${diskMiB} MiB of disk; you are user \`agent\` without root, and work in /workspace. /workspace, /tmp and /home/agent can be written.`,
    networkOf(grants, profile),
    `The user's own files are not in it; ${theirs}.`,
    "`exec` runs one program without a shell (argv is a list). Use `shell` only for pipes, redirection and the like. Read and change files with the file tools rather than with cat and sed.",
    ...(hasSkills
      ? ["For common work there are reviewed tools: `findCapability` finds them by plain words, `useSkill` gets them."]
      : []),
    `The first call starts the sandbox and may take some seconds. A command that runs longer than ${yieldSeconds} s comes back with a processId: go on reading with readProcess. For servers and long builds set background.`,
    "DENIED means that the organisation's policy forbids the call: don't repeat it or look for a way around it; do it differently, or tell the user what was denied and why. Other errors say what to do.",
    "Files last as long as the session; an idle one is closed in the end.",
  ].join("\n");
}

/** Hosts named at most; sessionStatus has them all. */
const MAX_NAMED = 12;

function networkOf(grants: readonly string[], { packages }: Profile): string {
  const install = packages
    ? " Packages come by installPackage, or by their own managers, from registries that show what policy permits and nothing else."
    : "";
  if (grants.length === 0) {
    const none = packages ? "no downloads, no git remotes" : "no downloads, no package installation, no git remotes";
    return `It has no network: ${none}.${install}`;
  }
  const named = grants.slice(0, MAX_NAMED).join(", ");
  const more = grants.length > MAX_NAMED ? ` and ${grants.length - MAX_NAMED} more (see sessionStatus)` : "";
  return `Its programs reach these hosts, by HTTP and TLS, and no others: ${named}${more}. A result's \`blocked\` says what was refused and why; there is no way around it.${install}`;
}
