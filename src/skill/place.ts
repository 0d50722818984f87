import { createHash } from "node:crypto";
import type { CallContext } from "../capability/capability.ts";
import { installPackage } from "../capability/install-package.ts";
import { statIfAny } from "../capability/lookup.ts";
import type { TreeEntry } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { ECOSYSTEMS } from "../policy/ecosystems/ecosystem.ts";
import type { Session } from "../session/session.ts";
import type { Needs, Skill } from "./skill.ts";

/** In the agent's home: another place for other content, so that no version of a skill meets the files of another. */
const HOME = "/home/agent/.glovebox/skills";
const DIGEST_CHARS = 16;

/** Where a skill is in the sandbox. */
export interface Place {
  readonly directory: string;
  /** What its steps run in the place of `python3`, where it has packages of its own. */
  readonly python?: string;
}

/** What of a skill its capability runs with. */
export interface Placed {
  readonly skill: Pick<Skill, "name" | "digest" | "files">;
  readonly packages: Needs["packages"];
}

/**
 * Puts a skill's files in place, anew for each call: programs of the sandbox may have changed them. What changes them while a step runs could
 * do whatever the step can by itself: nothing outside the sandbox rests on them. Packages are installed before they are first needed.
 * @throws GatewayError SKILL_INCOMPLETE when a package can't be had, and what the container throws
 */
export async function putInPlace(placed: Placed, session: Session, context: CallContext): Promise<Place> {
  const { skill, packages } = placed;
  const { container, turns } = session;
  const { signal } = context;
  const directory = `${HOME}/${skill.name}/${skill.digest.slice("sha256:".length).slice(0, DIGEST_CHARS)}`;
  return await turns.take(directory, signal, async () => {
    await container.importTree(directory, entriesOf(skill.files), signal);
    if (packages.length === 0) return { directory };
    const project = `${directory}/packages`;
    const mark = `${directory}/.installed-${keyOf(packages)}`;
    if (!(await statIfAny(container, mark, signal))) {
      await install(placed, project, context);
      await container.writeFile(mark, Buffer.alloc(0), { mode: 0o644, createParents: false }, signal);
    }
    const hasPip = packages.some((it) => it.ecosystem === "pip");
    return { directory, ...(hasPip && { python: `${project}/.venv/bin/python` }) };
  });
}

async function* entriesOf(files: Skill["files"]): AsyncGenerator<TreeEntry> {
  yield { kind: "directory", name: "" };
  const made = new Set<string>();
  for (const [path, { content, executable }] of files) {
    const names = path.split("/").slice(0, -1);
    for (const [index] of names.entries()) {
      const name = names.slice(0, index + 1).join("/");
      if (!made.has(name)) yield { kind: "directory", name };
      made.add(name);
    }
    yield { kind: "file", name: path, executable, sizeBytes: content.length, content: [content] };
  }
  yield { kind: "directory", name: "packages" };
}

function keyOf(packages: Needs["packages"]): string {
  const named = packages.map(({ ecosystem, name, version = "" }) => `${ecosystem}:${name}@${version}`);
  return createHash("sha256").update(named.sort().join("\n")).digest("hex").slice(0, DIGEST_CHARS);
}

/** Policy decides each package, as it does whoever asks for one. */
async function install({ skill, packages }: Placed, directory: string, context: CallContext): Promise<void> {
  const lacks = (text: string) =>
    new GatewayError("SKILL_INCOMPLETE", `${skill.name} needs packages that can't be had:\n${text}`);
  const { egress } = await context.session();
  for (const ecosystem of ECOSYSTEMS) {
    const wanted = packages.filter((it) => it.ecosystem === ecosystem);
    if (wanted.length === 0) continue;
    if (egress.packages?.base(ecosystem) === undefined) throw lacks(`the profile permits no packages of ${ecosystem}`);
    context.progress(`installing what ${skill.name} needs: ${wanted.map((it) => it.name).join(", ")}`);
    const named = wanted.map(({ name, version }) => ({ name, ...(version !== undefined && { version }) }));
    // However long that takes: a first use of large packages is longer than most programs may run by themselves.
    const { maxExecMs: timeoutMs } = context.profile.timeouts;
    const args = installPackage.input.parse({ ecosystem, packages: named, directory, timeoutMs });
    const { result, text } = await installPackage.run(args, context);
    if (result["installed"] === true) continue;
    throw lacks(text);
  }
}
