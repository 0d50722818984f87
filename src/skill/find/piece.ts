import { type Shape, shapeOf } from "./shape.ts";

/** One word of a request, or what stands in quotes. */
export interface Piece {
  /** A `label` is the name of `top=5` or `top: 5`; a `text` what follows a colon, all of it. */
  readonly kind: Shape | "label" | "quoted" | "text";
  /** Without the marks around it. */
  readonly text: string;
  /** Whether a sentence or a part of one ends here: what comes then is about something else. */
  readonly ends: boolean;
}

/** An apostrophe opens only where a word begins, and closes only where one ends. */
const QUOTED =
  /(?<=^|[\s([{=:,])(?:"([^"]*)"|'([^']*)'(?![\p{L}\p{N}])|`([^`]*)`|“([^”]*)”|‘([^’]*)’(?![\p{L}\p{N}])|«([^»]*)»|„([^“”]*)[“”])/gu;
const LABELLED = /^(?:--?)?(\p{L}[\p{L}\p{N}_-]*)(?:=(?!=)|:$)/u;
/** Of so many words nobody has a request; each of them is compared with each parameter. */
const MAX_PIECES = 200;
const BEFORE = /^[([{<,;"'“‘`]+/;
/** A path may end with dots (`..`), a sentence with one. */
const AFTER = /(?:[\])}>,:;!?…"'”’`]|(?<=[^.])\.)+$/;

/**
 * What a request can mean: each word by itself and, where it has a colon, what follows it as one text (`post to #ops: it works again`), which is
 * the likelier one where something takes a text.
 */
export function readingsOf(request: string): readonly (readonly Piece[])[] {
  const clean = request.toWellFormed().normalize("NFC").trim();
  const [, inner] = /^["'“‘`]([^"'“”‘’`]*)["'”’`]$/.exec(clean) ?? [];
  const plain = piecesOf(inner ?? clean);
  const colon = /:\s/.exec(clean)?.index ?? clean.length;
  const text = clean.slice(colon + 1).trim();
  // What is one word is the same in both readings.
  if (!/\s/.test(text)) return [plain];
  return [[...piecesOf(clean.slice(0, colon)), { kind: "text", text: unquoted(text), ends: true }], plain];
}

function piecesOf(text: string): readonly Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(QUOTED)) {
    pieces.push(...barePieces(text.slice(at, match.index)));
    at = match.index + match[0].length;
    const inner = match.slice(1).find((it) => it !== undefined) ?? "";
    pieces.push({ kind: "quoted", text: inner, ends: /^\s*[,.;!?]/.test(text.slice(at, at + 8)) });
  }
  return [...pieces, ...barePieces(text.slice(at))].slice(0, MAX_PIECES);
}

function barePieces(text: string): Piece[] {
  return text.split(/[\s\p{Cc}]+/u).flatMap((word) => {
    const [written = "", label] = LABELLED.exec(word) ?? [];
    const rest = word.slice(written.length);
    const named: Piece[] = label === undefined ? [] : [{ kind: "label", text: label, ends: false }];
    const bare = rest.replace(BEFORE, "").replace(AFTER, "");
    return bare === "" ? named : [...named, { kind: shapeOf(bare), text: bare, ends: /[\])},:;!?.…]$/.test(rest) }];
  });
}

function unquoted(text: string): string {
  return /^(["'`])[^"'`]*\1$|^“[^”]*”$/.test(text) ? text.slice(1, -1) : text;
}
