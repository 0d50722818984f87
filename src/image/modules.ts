import { GatewayError } from "../errors.ts";

/** The modules of one kernel. Names are as `moduleName` makes them. */
export interface KernelModules {
  readonly loadable: ReadonlySet<string>;
  readonly builtin: ReadonlySet<string>;
  /** The uncompressed object file of a loadable module. */
  read(name: string): Promise<Buffer>;
}

export interface LoadedModule {
  readonly name: string;
  readonly content: Buffer;
}

/**
 * `wanted` and all that they depend on, each after what it needs. A name ending in `?` may be missing.
 * What a module depends on stands in the module itself; `modules.dep` exists only where depmod has run.
 * @throws GatewayError IMAGE_BUILD_FAILED for a name that the kernel has neither as a module nor built in
 */
export async function loadOrder(wanted: readonly string[], kernel: KernelModules): Promise<LoadedModule[]> {
  const order = new Map<string, Buffer>();
  const visit = async (name: string, optional: boolean): Promise<void> => {
    if (order.has(name) || kernel.builtin.has(name)) return;
    if (!kernel.loadable.has(name)) {
      if (optional) return;
      throw new GatewayError("IMAGE_BUILD_FAILED", `the kernel has no module ${name}`);
    }
    const content = await kernel.read(name);
    for (const need of dependsOn(content)) await visit(need, false);
    order.set(name, content);
  };
  for (const name of wanted) await visit(moduleName(name.replace(/\?$/, "")), name.endsWith("?"));
  return [...order].map(([name, content]) => ({ name, content }));
}

/** Names from the `depends=` field of a module's `.modinfo` section, which is a list of NUL-terminated strings. */
export function dependsOn(module: Buffer): string[] {
  const field = Buffer.from("\0depends=");
  const at = module.indexOf(field);
  if (at < 0) return [];
  const start = at + field.length;
  const names = module.toString("latin1", start, module.indexOf(0, start));
  return names.split(",").filter(Boolean).map(moduleName);
}

/** The kernel takes `-` and `_` in a module's name for the same. */
export function moduleName(path: string): string {
  const base = path.slice(path.lastIndexOf("/") + 1);
  return base.replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
}
