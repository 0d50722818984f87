import { isAbsolute } from "node:path";
import canonicalize from "canonicalize";
import { z } from "zod";
import { printable } from "../../lib/text.ts";

/** Where a layer's bundle comes from. */
export type BundleSource =
  | { readonly directory: string }
  | { readonly git: string; readonly commit?: string; readonly ref?: string; readonly path?: string }
  | { readonly url: string };

const SEGMENT = /^[A-Za-z0-9_.-]+$/;

/** Of a folder: absolute. */
const absolute = z.string().refine((it) => isAbsolute(it) && !it.includes("\0"), "must be an absolute path");

/** `directory`, `git` or `url`, and what belongs to it; how a folder may be written is for whoever reads it to say. */
export function sourceSchema(directory: z.ZodType<string>) {
  return written.extend({ directory: directory.optional() }).transform((it, context): BundleSource => {
    const complain = (message: string) => {
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    };
    const { git, commit, ref, path, url } = it;
    if ([it.directory, git, url].filter((one) => one !== undefined).length !== 1) {
      return complain("must have one of `directory`, `git` and `url`");
    }
    if (git === undefined && (commit ?? ref ?? path) !== undefined) {
      return complain("`commit`, `ref` and `path` belong to `git`");
    }
    if (commit !== undefined && ref !== undefined) return complain("must not have both `commit` and `ref`");
    if (it.directory !== undefined) return { directory: it.directory };
    if (url !== undefined) return { url };
    if (git === undefined) return z.NEVER;
    return { git, ...(commit && { commit }), ...(ref && { ref }), ...(path && { path }) };
  });
}

/** One object for all three kinds, so that what is wrong is named by its key. */
const written = z.strictObject({
  /** A repository. */
  git: z
    .string()
    .max(2_000)
    .refine(isGitUrl, "must be a URL such as https://git.example.org/policy.git, ssh:// or file://, without a password")
    .optional(),
  commit: z
    .string()
    .regex(/^[0-9a-f]{40}$/, "must be a whole commit id: 40 hexadecimal digits")
    .optional(),
  /** A branch or a tag; the repository's default branch when neither is given. */
  ref: z.string().max(200).refine(isRef, "must be the name of a branch or a tag").optional(),
  /** A folder of the repository; its root when absent. */
  path: z
    .string()
    .max(1_000)
    .refine(isInside, "must be a folder inside the repository, such as bundles/team")
    .optional(),
  /** An archive: `.tar.gz` or `.tar`. */
  url: z.string().max(2_000).refine(isArchiveUrl, "must be an https:// URL without user and password").optional(),
});

/** A source in full. */
export const bundleSourceSchema = sourceSchema(absolute);

/** For people. What follows the path of a URL may be a secret. */
export function sourceText(source: BundleSource): string {
  if ("directory" in source) return printable(source.directory);
  if ("url" in source) {
    const { origin, pathname } = new URL(source.url);
    return printable(`${origin}${pathname}`);
  }
  const at = source.commit ?? source.ref;
  return printable(`${source.git}${at ? ` at ${at}` : ""}${source.path ? `, ${source.path}` : ""}`);
}

/** The same of the same source, however its keys are ordered. */
export function sourceKey(source: BundleSource): string {
  return canonicalize(source) ?? "";
}

function isArchiveUrl(text: string): boolean {
  const url = URL.parse(text);
  return isPlain(text) && url?.protocol === "https:" && `${url.username}${url.password}` === "";
}

/** What begins with `-` could be an option to git or to ssh. */
function isGitUrl(text: string): boolean {
  const url = URL.parse(text);
  if (!url || !isPlain(text) || url.password !== "" || `${url.search}${url.hash}` !== "") return false;
  if (/^(https|ssh|file):\/\//.exec(text)?.[1] !== url.protocol.slice(0, -1)) return false;
  if (url.protocol === "file:") return url.host === "" && url.username === "";
  const isUserFit = url.protocol === "ssh:" ? !url.username.startsWith("-") : url.username === "";
  return isUserFit && url.hostname !== "" && !url.hostname.startsWith("-");
}

/** A URL's parser leaves some characters out; git and ssh don't. */
function isPlain(text: string): boolean {
  return /^[!-~]+$/.test(text) && !text.includes("\\");
}

function isRef(text: string): boolean {
  return isInside(text) && !text.startsWith("-") && !text.includes("..") && !/\.(lock)?(\/|$)/.test(text);
}

function isInside(text: string): boolean {
  return text.split("/").every((it) => SEGMENT.test(it) && it !== "." && it !== "..");
}
