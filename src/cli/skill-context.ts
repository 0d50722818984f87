/** What `glovebox skill …` stands on. */
export interface SkillContext {
  /** Of the gateway's own tools: no skill has such a name. */
  readonly toolNames: ReadonlySet<string>;
  /** Folders of skills, where nobody names others. */
  readonly places: () => readonly string[];
}
