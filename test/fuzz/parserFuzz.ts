/**
 * Mutated messages through the parser and the decoders, without a network: what comes out is what the reference reads,
 * however the stream is cut; nothing throws; nothing is kept that was not admitted.
 */
import { Result } from "effect"
import { createHash } from "node:crypto"
import { Parser } from "../../src/protocol/Frame.ts"
import { parseRequestHeader, type RequestHeader } from "../../src/protocol/Header.ts"
import { type Refusal, refuse } from "../../src/protocol/Refusal.ts"
import { decodeAuth, decodeBody, requestOf, Requests } from "../../src/protocol/Request.ts"
import { admit } from "../../src/server/Exchange.ts"
import { Random } from "../support/Random.ts"
import { corpus } from "./corpus.ts"
import { mutate } from "./mutate.ts"
import { readStream, type Whole } from "./reference.ts"

const REFUSED = refuse("2:auth", "refused")
const PER_STREAM = 20

/** One in four auth components is refused, by its bytes alone. */
const isRefused = (auth: Uint8Array): boolean => auth.length % 4 === 3

const refusalOf = (header: RequestHeader): Refusal | undefined => {
  const admitted = admit(header)
  return Result.isFailure(admitted) ? admitted.failure : undefined
}

const digest = (...parts: ReadonlyArray<Uint8Array>): string => {
  const hash = createHash("sha1")
  for (const part of parts) hash.update(`${part.length} `).update(part)
  return hash.digest("base64")
}

const summaryOf = ({ auth, body, data, header }: Whole): string =>
  refusalOf(header) !== undefined || isRefused(auth)
    ? `skipped ${header.id}`
    : `whole ${header.id} ${digest(auth, body, data)}`

/** Decoders give a value or a refusal that fits an answer; they never throw. */
const decode = ({ auth, body, header }: Pick<Whole, "auth" | "body" | "header">): void => {
  const name = requestOf(header.category, header.subcategory)
  if (name === undefined) return
  for (const decoded of [decodeAuth[Requests[name].auth](auth), decodeBody(name, body)]) {
    if (Result.isFailure(decoded) && decoded.failure.message.length > 1000) {
      throw new Error(`a refusal of ${decoded.failure.message.length} characters`)
    }
  }
}

/** What the parser makes of a stream that comes in the given pieces. */
const parse = (pieces: ReadonlyArray<Buffer>): ReadonlyArray<string> => {
  const seen: Array<string> = []
  const parser = new Parser<RequestHeader>({
    parseHeader: parseRequestHeader,
    onHeader: refusalOf,
    onAuth: (_, auth) => isRefused(auth) ? REFUSED : undefined,
    onMessage: ({ auth, body, data, header }) => {
      decode({ header, auth: Buffer.from(auth), body: Buffer.from(body) })
      seen.push(`whole ${header.id} ${digest(auth, body, Buffer.concat(data))}`)
    },
    onSkipped: (header) => seen.push(`skipped ${header.id}`),
    onFault: () => seen.push("fault")
  })
  for (const piece of pieces) parser.push(piece)
  return seen
}

const cut = (random: Random, stream: Buffer): ReadonlyArray<Buffer> => {
  const pieces: Array<Buffer> = []
  for (let at = 0; at < stream.length;) {
    const length = 1 + random.below(random.pick([8, 300, 2000, 70_000]))
    pieces.push(stream.subarray(at, at += length))
  }
  return pieces
}

export interface ParserFigures {
  readonly messages: number
  readonly whole: number
  readonly skipped: number
  readonly faults: number
}

/** Rejects with the seed of the stream that went wrong. */
export const fuzzParser = (
  { messages, onProgress = () => {}, seed }: {
    readonly messages: number
    readonly seed: number
    readonly onProgress?: (messages: number) => void
  }
): ParserFigures => {
  const seeds = corpus()
  const figures = { messages: 0, whole: 0, skipped: 0, faults: 0 }
  for (let stream = 0; figures.messages < messages; stream++) {
    const random = new Random(seed + stream)
    const bytes = Buffer.concat(Array.from({ length: PER_STREAM }, () => mutate(random, seeds)))
    const { end, messages: expected } = readStream(bytes)
    const wanted = [...expected.map(summaryOf), ...(end === "fault" ? ["fault"] : [])].join("\n")
    for (const pieces of [[bytes], cut(random, bytes)]) {
      let got: string
      try {
        got = parse(pieces).join("\n")
      } catch (cause) {
        throw new Error(`seed ${seed + stream}: it throws`, { cause })
      }
      if (got !== wanted) throw new Error(`seed ${seed + stream}: the reference reads\n${wanted}\nand it\n${got}`)
    }
    figures.messages += PER_STREAM
    figures.faults += end === "fault" ? 1 : 0
    for (const line of expected.map(summaryOf)) {
      if (line.startsWith("whole")) figures.whole++
      else figures.skipped++
    }
    if (stream % 1000 === 999) onProgress(figures.messages)
  }
  return figures
}
