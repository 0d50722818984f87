const ELEMENT = /^[A-Za-z0-9_~-](?:[A-Za-z0-9._~-]*[A-Za-z0-9_~-])?$/;
const FIRST = /^[a-z0-9][a-z0-9.-]*$/;
const WINDOWS_NAME = /^(?:con|prn|aux|nul|com[1-9]|lpt[1-9])$/i;
const MAX_CHARS = 512;

/** Whether golang.org/x/mod/module.CheckPath takes it as a module's path, and it has no `..`, which CheckPath lets through inside an element. */
export function isModulePath(path: string): boolean {
  if (path.length > MAX_CHARS || path.includes("..")) return false;
  const elements = path.split("/");
  const [first = ""] = elements;
  return FIRST.test(first) && first.includes(".") && elements.every(isElement) && hasMajor(path);
}

function isElement(element: string): boolean {
  const [short = ""] = element.split(".");
  // Names that Windows has for devices, and short names of its own.
  return ELEMENT.test(element) && !WINDOWS_NAME.test(short) && !/~\d+$/.test(short);
}

/** The major version at the end: `/v2` and above, at gopkg.in `.v0` and above. */
function hasMajor(path: string): boolean {
  if (path.startsWith("gopkg.in/")) return /.\.v(?:0|[1-9]\d*)(?:-unstable)?$/.test(path);
  const [, number] = /\/v([\d.]+)$/.exec(path) ?? [];
  return number === undefined || (/^[1-9]\d*$/.test(number) && number !== "1");
}
