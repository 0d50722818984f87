/** An upstream registry. */
export interface Source {
  /** Absolute, with a slash at the end. */
  readonly root: string;
  /** Names, or beginnings of them with `*`, that are asked for here and nowhere else; all others when absent. */
  readonly only?: readonly string[];
  /** `host:port` of all places where it may have files. */
  readonly hosts: Set<string>;
  readonly secret?: string;
}
