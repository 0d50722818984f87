import { resolve } from "node:path";
import { Command } from "commander";
import { GatewayError } from "../errors.ts";
import { readAddedImage } from "../image/add.ts";
import { type AddedImage, buildImage } from "../image/build.ts";
import { type ImageManifest, imageNameSchema } from "../image/image.ts";
import { openImageStore } from "../image/store.ts";

export interface ImageContext {
  /** The image store. */
  readonly directory: () => string;
  /** The package's `guest/`. */
  readonly sources: string;
  /** Major version of the installed QEMU, if there is one. */
  readonly qemuMajor: () => Promise<number | undefined>;
}

interface Options {
  readonly json?: boolean;
  readonly force?: boolean;
  readonly name?: string;
}

/** `glovebox image build|list|remove|add`. */
export function imageCommand(context: ImageContext): Command {
  const command = new Command("image")
    .description("build and keep the guest images that sandboxes start from")
    .addHelpText(
      "after",
      `
The default image is built from Debian packages on this machine: kernel, a read-only root with the container engine, and a disk
that already holds the agent's image (Python, Node.js, git, ripgrep, jq, curl). It comes from the mirror that this machine's
apt uses; elsewhere set GLOVEBOX_DEBIAN_MIRROR to the address of one and, after a space, of its security archive.

Examples:
  $ glovebox image build             # does nothing when nothing has changed
  $ glovebox image build --force     # with the newest Debian packages
  $ docker save my-tools:1 -o my-tools.tar
  $ glovebox image add my-tools.tar --name my-tools
    then \`image: my-tools\` in a bundle's profile.yaml`,
    );
  command
    .command("build")
    .description("build the default image; does nothing when the store has it")
    .option("--force", "build it anew, from packages that are downloaded again")
    .option("--json", "print the image's manifest as JSON")
    .action((options: Options) => build(options, context));
  command
    .command("add")
    .argument("<archive>", "`docker save` archive, OCI layout archive, or OCI layout folder")
    .requiredOption("--name <name>", "what a profile's `image` calls it")
    .option("--force", "put it onto a disk anew although it is there")
    .option("--json", "print the image's manifest as JSON")
    .description("add an organisation's own agent image (for all tools to work it needs /bin/bash, find and rg)")
    .action(async (archive: string, options: Options) => {
      const name = options.name ?? "";
      if (!imageNameSchema.safeParse(name).success || name === "default") {
        const rule = "lower-case letters, digits, dots, dashes and underscores, and not `default`";
        throw new GatewayError("INVALID_ARGUMENTS", `--name: ${rule}`);
      }
      await build(options, context, await readAddedImage(name, resolve(archive)));
    });
  command
    .command("list")
    .option("--json", "print the manifests as JSON")
    .description("list the images in the store")
    .action((options: Options) => list(options, context));
  command
    .command("remove")
    .argument("<name>", "as `list` shows it")
    .description("remove an image; sessions that run go on")
    .action(async (name: string) => {
      await openImageStore(context.directory()).remove(name, { signal: interruption(), progress: say });
      console.log(`removed ${name}`);
    });
  return command;
}

async function build({ force, json }: Options, context: ImageContext, added?: AddedImage): Promise<void> {
  const signal = interruption();
  const directory = context.directory();
  const qemuMajor = await context.qemuMajor();
  const options = { directory, sources: context.sources, force: force ?? false, qemuMajor, signal, progress: say };
  const image = await buildImage(options, added);
  console.log(json ? JSON.stringify(image, null, 2) : lineOf(image));
}

/** Aborts at the first Ctrl-C; a second one ends the process at once. */
function interruption(): AbortSignal {
  const stop = new AbortController();
  const onSignal = () => stop.abort(new GatewayError("CANCELLED", "interrupted; running it again is safe"));
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(name, onSignal);
  return stop.signal;
}

function say(message: string): void {
  const seconds = Math.round(performance.now() / 1000);
  process.stderr.write(`[${String(seconds).padStart(4)} s] ${message}\n`);
}

async function list({ json }: Options, context: ImageContext): Promise<void> {
  const images = await openImageStore(context.directory()).list();
  if (json) console.log(JSON.stringify(images, null, 2));
  else if (images.length === 0) console.log("no images yet: run `glovebox image build`");
  else for (const image of images) console.log(lineOf(image));
}

function lineOf({ name, kernelRelease, agentImage, builtAt }: ImageManifest): string {
  return `${name}  kernel ${kernelRelease}  agent image ${agentImage.slice(7, 19)}  built ${builtAt.slice(0, 16)}Z`;
}
