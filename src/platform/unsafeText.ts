/**
 * Characters that steer a terminal, and what is shown instead: nothing that was escaped here can move the cursor, change
 * colours, rewrite what is on the screen or reverse the reading order.
 */

// C0 (without tab and newline), DEL, C1, line and paragraph separators, bidirectional controls, lone surrogates.
export const UNSAFE =
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu

/** `\x1b`, `\u202e`. */
export const escapeCharacter = (char: string): string => {
  const code = char.charCodeAt(0)
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`
}

/** Text that belongs on one line, such as a name in a table or in a log. */
export const printableLine = (text: string): string =>
  text.replaceAll(UNSAFE, escapeCharacter).replaceAll("\n", "\\n").replaceAll("\t", "\\t")

/** JSON that is as safe to show, and still the same JSON. */
export const printableJson = (json: string): string =>
  json.replaceAll(UNSAFE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)
