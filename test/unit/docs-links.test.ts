import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..", "..");
const inFolder = (folder: string) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name));
const PAGES = [...inFolder("."), ...inFolder("docs"), ...inFolder("guest")];

/** Without what is shown as code: brackets there are no links, and `#` begins a comment. */
function prose(file: string): string {
  return readFileSync(file, "utf8")
    .replaceAll(/^( *)```.*?^\1```/gms, "")
    .replaceAll(/^(?: {4}|\t).*$/gm, "");
}

/** What a heading is called in a link, as GitHub makes it. */
function anchors(file: string): string[] {
  const seen = new Map<string, number>();
  return [...prose(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => {
    const name = heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, "")
      .replaceAll(" ", "-");
    const times = seen.get(name) ?? 0;
    seen.set(name, times + 1);
    return times === 0 ? name : `${name}-${times}`;
  });
}

function broken(page: string): string[] {
  const links = [...prose(join(root, page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path = "", anchor] = link.split("#");
    const file = path === "" ? join(root, page) : join(root, dirname(page), path);
    if (!existsSync(file)) return true;
    return anchor !== undefined && !(statSync(file).isFile() && anchors(file).includes(anchor));
  });
}

test.each(PAGES)("every link of %s leads somewhere", (page) => {
  expect(broken(page)).toEqual([]);
});

test("every page of docs is reached from the README", () => {
  const reached = new Set(["README.md"]);
  for (const page of reached) {
    for (const [, link = ""] of prose(join(root, page)).matchAll(/\]\(([^)#\s]+\.md)[^)]*\)/g)) {
      if (!/^[a-z]+:/.test(link)) reached.add(join(dirname(page), link));
    }
  }
  expect(inFolder("docs").filter((page) => !reached.has(page))).toEqual([]);
});
