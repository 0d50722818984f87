/** The driver's own queries ask for 25 at most. */
const MAX_COLUMNS = 64;
/** Of a column's description behind its name: table, number, type, size, modifier, format. */
const COLUMN_BYTES = 18;

/** Types of messages without a payload: done with a statement's parsing, binding, closing; no rows; an empty query. */
const EMPTY = "123nI";

/**
 * Whether a message from a server has exactly the form that its type must have, since `pg` takes that for granted: it reads past the end of
 * what is too short, goes back where a length is negative, and looks forever for an end that isn't there. Only what a client of this driver's
 * kind can be sent: no copying, no replication, nothing in binary. Source: PostgreSQL's documentation, "Message Formats", protocol 3.0.
 * @param columns how many the rows have, where they were described
 */
export function isWellFormed(type: string, payload: Buffer, columns: number | undefined): boolean {
  switch (type) {
    case "R":
      return isLogin(payload);
    case "K":
      return payload.length === 8;
    case "Z":
      return payload.length === 1 && "ITE".includes(payload.toString("latin1"));
    case "S":
      return hasStrings(payload, 0, 2);
    case "A":
      return payload.length >= 4 && hasStrings(payload, 4, 2);
    case "C":
      return hasStrings(payload, 0, 1);
    case "E":
    case "N":
      return endOfStrings(payload, 0) === payload.length;
    case "T":
      return columnsOf(payload) !== undefined;
    case "D":
      return columns !== undefined && isRow(payload, columns);
    default:
      return EMPTY.includes(type) && payload.length === 0;
  }
}

/** How many columns rows have, by their description; undefined when it isn't well-formed, or they are more than anybody asked for. */
export function columnsOf(payload: Buffer): number | undefined {
  if (payload.length < 2) return undefined;
  const count = payload.readInt16BE(0);
  if (count < 0 || count > MAX_COLUMNS) return undefined;
  let at = 2;
  for (let n = 0; n < count; n++) {
    const name = payload.indexOf(0, at);
    if (name === -1) return undefined;
    at = name + 1 + COLUMN_BYTES;
    // The last of it is the format, and 0 is text.
    if (at > payload.length || payload.readInt16BE(at - 2) !== 0) return undefined;
  }
  return at === payload.length ? count : undefined;
}

/** What a login message asks for or says: 0 is that the client is in. */
export function loginCode(payload: Buffer): number {
  return payload.length < 4 ? -1 : payload.readInt32BE(0);
}

function isLogin(payload: Buffer): boolean {
  switch (loginCode(payload)) {
    case 0:
    case 3:
      return payload.length === 4;
    case 5:
      return payload.length === 8;
    case 10:
      return endOfStrings(payload, 4) === payload.length;
    default:
      // Of SCRAM, whose text has no end of its own; and what `pg` doesn't know either.
      return loginCode(payload) === 11 || loginCode(payload) === 12;
  }
}

function isRow(payload: Buffer, columns: number): boolean {
  if (payload.length < 2 || payload.readInt16BE(0) !== columns) return false;
  let at = 2;
  for (let n = 0; n < columns; n++) {
    if (at + 4 > payload.length) return false;
    const bytes = payload.readInt32BE(at);
    // NULL is the one negative length.
    if (bytes < -1) return false;
    at += 4 + Math.max(bytes, 0);
  }
  return at === payload.length;
}

/** Whether exactly so many strings, each with a NUL behind it, are there from an offset to the end. */
function hasStrings(payload: Buffer, from: number, count: number): boolean {
  let at = from;
  for (let n = 0; n < count; n++) {
    const end = payload.indexOf(0, at);
    if (end === -1) return false;
    at = end + 1;
  }
  return at === payload.length;
}

/**
 * Where strings end that are not empty, each with a NUL behind it, and one more NUL behind the last; undefined when they don't end. A field of
 * an error is such a string: the first byte says which field it is.
 */
function endOfStrings(payload: Buffer, from: number): number | undefined {
  let at = from;
  while (at < payload.length) {
    if (payload[at] === 0) return at + 1;
    const end = payload.indexOf(0, at);
    if (end === -1) return undefined;
    at = end + 1;
  }
  return undefined;
}
