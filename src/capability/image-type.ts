/** The media type of a picture that clients can show, told by its first bytes; a file's name proves nothing. */
export function imageType(file: Buffer): string | undefined {
  const begin = file.toString("latin1", 0, 12);
  if (begin.startsWith("\x89PNG\r\n\x1a\n")) return "image/png";
  if (begin.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (/^GIF8[79]a/.test(begin)) return "image/gif";
  if (begin.startsWith("RIFF") && begin.endsWith("WEBP")) return "image/webp";
  return undefined;
}
