/** One policy of a Cedar file, as it is written there. */
export interface Statement {
  readonly text: string;
  /** Of `text` in the file, in UTF-16 units. */
  readonly offset: number;
}

/** What may hold a `;` that ends nothing, and the `;` that does. */
const TOKENS = /"(?:\\.|[^"\\])*"|\/\/[^\r\n]*|;/gs;
const GAP = /(?:\s+|\/\/[^\r\n]*)*/y;

/**
 * The policies of a Cedar text that parses, in their order. Cedar's own `policySetTextToParts` gives texts without their places, and the
 * same text can stand twice, or in a comment.
 */
export function statementsOf(text: string): Statement[] {
  const statements: Statement[] = [];
  let from = 0;
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    if (token !== ";") continue;
    const gap = new RegExp(GAP);
    gap.lastIndex = from;
    gap.test(text);
    statements.push({ text: text.slice(gap.lastIndex, index + 1), offset: gap.lastIndex });
    from = index + 1;
  }
  return statements;
}
