// Shared by `npm run quickstart` and `npm test`: what both need before they can start. Runs on Node 20 without packages.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setUpSystem } from "./setup.mjs";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const newNode = join(root, "node_modules", "node", "bin");
export const node = join(newNode, "node");

const started = Date.now();

export function say(message) {
  const seconds = String(Math.round((Date.now() - started) / 1000)).padStart(4);
  console.error(`[${seconds} s] ${message}`);
}

/** Runs a program to its end with its output shown; ends this script with its exit code when it fails. */
export function run(command, args, { cwd = root, env = {} } = {}) {
  const path = `${newNode}:${process.env.PATH}`;
  const { status, error } = spawnSync(command, args, {
    cwd,
    stdio: "inherit",
    env: { ...process.env, PATH: path, ...env },
  });
  if (error) console.error(`cannot run ${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

/**
 * Installs what the lock file says in `directory`, unless what is installed is as new as it. Not `npm ci`: that refuses a lock file which
 * lacks optional packages of other platforms, and a mirror need not hold those.
 */
export function installPackages(directory) {
  const lock = join(directory, "package-lock.json");
  const mark = join(directory, "node_modules", ".package-lock.json");
  if (existsSync(mark) && statSync(mark).mtimeMs >= statSync(lock).mtimeMs) return;
  const { name } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
  say(`installing npm packages of ${name}`);
  run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: directory });
}

/** Everything up to a built guest image; what tests need besides is named as in setup.mjs. */
export async function prepare({ programs = [], postgres = false } = {}) {
  installPackages(root);
  say("checking system packages");
  await setUpSystem({ log: say, programs, postgres });
  say("building the guest image (minutes the first time, nothing when it is there)");
  run(node, ["bin/glovebox.js", "image", "build"]);
}
