/**
 * The examples of docs/protocol.md, read as section 2.5 of it says, and without the program's own encoder: what is on
 * the wire is what the document shows.
 */
import { readFileSync } from "node:fs"
import { HEADER_BYTES } from "../../src/protocol/Limits.ts"

/** One message, each part as the text that the document shows. */
export interface ExampleMessage {
  readonly from: "client" | "server"
  readonly header: string
  readonly auth: string
  readonly body: string
  readonly data: string
}

export interface Example {
  readonly name: string
  readonly messages: ReadonlyArray<ExampleMessage>
}

export const protocolMarkdown = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8")

/** The fenced blocks that begin with a word, each as the rest of its first line and its content. */
export const blocks = (
  word: string
): ReadonlyArray<{ readonly title: string; readonly lines: ReadonlyArray<string> }> =>
  [...protocolMarkdown.matchAll(/^```(\S*)(?: (.*))?\n([^]*?)\n```$/gm)]
    .filter(([, language]) => language === word)
    .map(([, , title, content]) => ({ title: title ?? "", lines: (content ?? "").split("\n") }))

/** Indented lines continue the line above. */
const unfold = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const unfolded: Array<string> = []
  for (const line of lines) {
    if (line.startsWith(" ")) unfolded.push((unfolded.pop() ?? "") + line.trimStart())
    else unfolded.push(line)
  }
  return unfolded
}

const readExample = (name: string, lines: ReadonlyArray<string>): Example => {
  const messages: Array<{ -readonly [K in keyof ExampleMessage]: ExampleMessage[K] }> = []
  for (const line of unfold(lines)) {
    const [, side, part, text = ""] = /^([CS]): (header|auth|body|data) +(.+)$/.exec(line) ?? []
    const message = messages.at(-1)
    if (part === "header") {
      messages.push({ from: side === "C" ? "client" : "server", header: text, auth: "", body: "", data: "" })
    } else if (message === undefined) throw new Error(`${name}: not an example: ${line}`)
    else if (part === "data") message.data = String(JSON.parse(text))
    else if (part === "auth" || part === "body") message[part] = text
    else throw new Error(`${name}: not an example: ${line}`)
  }
  return { name, messages }
}

/** All examples, in the order of the document. */
export const examples: ReadonlyArray<Example> = blocks("fip").map(({ lines, title }) => readExample(title, lines))

/** The bytes of a message. */
export const bytesOf = ({ auth, body, data, header }: ExampleMessage): Uint8Array =>
  Buffer.from(header.padEnd(HEADER_BYTES, " ") + auth + body + data)
