/**
 * What a reader does not see, or sees elsewhere than it stands: control and format characters (bidirectional overrides, zero-width joiners,
 * tags), those that Unicode says may be ignored (fillers, variation selectors), line and paragraph separators, spaces but the ordinary one,
 * lone surrogates, unassigned and private ones, and the blank Braille pattern. Unicode Technical Report 36, sections 2.10 and 2.11.
 */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;

/** Text of one line, in which whatever can't be seen stands as `\u{202e}`. */
export function visible(text: string): string {
  return text.replace(INVISIBLE, escaped);
}

/** The same for a text of several lines: tabs and line feeds are what they look like. */
export function visibleLines(text: string): string {
  return text.replace(INVISIBLE, (it) => (it === "\n" || it === "\t" ? it : escaped(it)));
}

/** Where such characters stand, by UTF-16 offsets; line feeds and tabs are none of them. */
export function invisibleIn(text: string): readonly { readonly offset: number; readonly codePoint: number }[] {
  return [...text.matchAll(INVISIBLE)]
    .filter(([it]) => it !== "\n" && it !== "\t")
    .map(({ 0: it, index }) => ({ offset: index, codePoint: it.codePointAt(0) ?? 0 }));
}

/** In ASCII alone, so that letters which only look like others are told apart. */
export function ascii(text: string): string {
  return text.replace(/[^\u0020-\u007e]/gu, escaped);
}

function escaped(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
