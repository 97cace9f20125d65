/**
 * Text from a server or a file name, made safe to show. What would steer the terminal is shown as `\x1b` or `\u202e`.
 */
import { escapeCharacter, UNSAFE } from "../../platform/unsafeText.ts"

export { printableJson, printableLine } from "../../platform/unsafeText.ts"

/** Several lines of text: newlines and tabs stay, and so does the `\r` of a `\r\n`. */
export const printable = (text: string): string => text.replaceAll("\r\n", "\n").replaceAll(UNSAFE, escapeCharacter)
