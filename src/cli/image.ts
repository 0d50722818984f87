import { resolve } from "node:path";
import { Command } from "commander";
import { GatewayError } from "../errors.ts";
import { readAddedImage } from "../image/add.ts";
import { type AddedImage, buildImage } from "../image/build.ts";
import type { ImageManifest } from "../image/image.ts";
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
that already holds the agent's image (Python, Node.js, git, ripgrep, jq, curl).

Examples:
  $ glovebox image build
  $ docker save my-tools:1 -o my-tools.tar && glovebox image add my-tools.tar --name my-tools
    then \`image: my-tools\` in a bundle's profile.yaml`,
    );
  command
    .command("build")
    .description("build the default image; does nothing when the store has it")
    .option("--force", "build although it is there")
    .option("--json", "print the result as JSON")
    .action((options: Options) => build(options, context));
  command
    .command("add")
    .argument("<archive>", "`docker save` archive, OCI layout archive, or OCI layout folder")
    .requiredOption("--name <name>", "what a profile's `image` calls it")
    .option("--force", "build although it is there")
    .option("--json", "print the result as JSON")
    .description("add an organisation's own agent image (it needs /bin/bash, find and ripgrep for all tools to work)")
    .action(async (archive: string, options: Options) => {
      const name = options.name ?? "";
      if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(name) || name === "default") {
        throw new GatewayError(
          "INVALID_ARGUMENTS",
          "--name: lower-case letters, digits, dots and dashes, and not `default`",
        );
      }
      await build(options, context, await readAddedImage(name, resolve(archive)));
    });
  command
    .command("list")
    .option("--json", "print the list as JSON")
    .description("list the images in the store")
    .action((options: Options) => list(options, context));
  command
    .command("remove")
    .argument("<name>")
    .description("remove an image; sessions that run go on")
    .action(async (name: string) => {
      await openImageStore(context.directory()).remove(name);
      console.log(`removed ${name}`);
    });
  return command;
}

async function build({ force, json }: Options, context: ImageContext, added?: AddedImage): Promise<void> {
  const stop = new AbortController();
  const onSignal = () => stop.abort(new GatewayError("CANCELLED", "the build was interrupted; building again is safe"));
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(name, onSignal);
  const startedMs = performance.now();
  const progress = (message: string) => {
    const seconds = Math.round((performance.now() - startedMs) / 1000);
    process.stderr.write(`[${String(seconds).padStart(4)} s] ${message}\n`);
  };
  const { sources } = context;
  const qemuMajor = await context.qemuMajor();
  const options = { directory: context.directory(), sources, force: force ?? false, qemuMajor, signal: stop.signal };
  const image = await buildImage({ ...options, progress }, added);
  console.log(json ? JSON.stringify(image, null, 2) : lineOf(image));
}

async function list({ json }: Options, context: ImageContext): Promise<void> {
  const images = await openImageStore(context.directory()).list();
  if (json) console.log(JSON.stringify(images, null, 2));
  else if (images.length === 0) console.log("no images yet: run `glovebox image build`");
  else for (const image of images) console.log(lineOf(image));
}

function lineOf({ name, kernelRelease, agentImage, builtAt, files }: ImageManifest): string {
  const bytes = Object.values(files).reduce((sum, it) => sum + it.sizeBytes, 0);
  const size = `${Math.round(bytes / 1024 ** 2)} MiB (sparse)`;
  return `${name}  kernel ${kernelRelease}  agent image ${agentImage.slice(7, 19)}  ${size}  built ${builtAt.slice(0, 16)}`;
}
