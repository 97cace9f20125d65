/** The push parser against a model: whatever the split, each message comes out whole, once, at its last byte. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { type Handlers, type Message, Parser } from "../../src/protocol/Frame.ts"
import { encodeRequestHeader, parseRequestHeader, type RequestHeader } from "../../src/protocol/Header.ts"
import { HEADER_BYTES, MAX_BODY_BYTES, MAX_DATA_BYTES } from "../../src/protocol/Limits.ts"
import { type Refusal, refuse } from "../../src/protocol/Refusal.ts"
import { anyText } from "./arbitrary.ts"

/** One message of a stream, and where it is to be refused. */
interface Sample {
  readonly header: RequestHeader
  readonly auth: Uint8Array
  readonly body: Uint8Array
  readonly refusedAt: "header" | "auth" | undefined
}

interface Outcome {
  readonly id: number
  readonly more: boolean
  readonly skipped: boolean
  readonly auth: string
  readonly body: string
  readonly data: string
}

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => Buffer.concat(parts)
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const encode = (sample: Sample): Uint8Array =>
  concat([encodeRequestHeader(sample.header), sample.auth, sample.body, pattern(sample.header.data_size)])

const expected = (sample: Sample): Outcome => {
  const skipped = sample.refusedAt !== undefined
  return {
    id: sample.header.id,
    more: sample.header.more,
    skipped,
    auth: skipped ? "" : hex(sample.auth),
    body: skipped ? "" : hex(sample.body),
    data: skipped ? "" : hex(pattern(sample.header.data_size))
  }
}

const received = (message: Message<RequestHeader>): Outcome => ({
  id: message.header.id,
  more: message.header.more,
  skipped: false,
  auth: hex(message.auth),
  body: hex(message.body),
  data: hex(concat(message.data))
})

const small = fc.uint8Array({ maxLength: 40 })
/** Sizes around the parser's thresholds. */
const dataSize = fc.oneof(fc.nat(40), fc.integer({ min: 1000, max: 1050 }), fc.nat(40_000))

const ramp = Uint8Array.from({ length: 256 * 1024 }, (_, index) => (index * 31 + (index >> 8)) & 0xff)

/** So many bytes that tell where they belong. */
const pattern = (length: number): Uint8Array => ramp.subarray(0, length)

const sample: fc.Arbitrary<Sample> = fc.record({
  // Few ids, so that the messages of several requests with `more` alternate.
  id: fc.nat(3),
  category: fc.constantFrom(1, 2, 4, 8, 77),
  subcategory: fc.nat(70_000),
  auth: small,
  body: small,
  data_size: dataSize,
  more: fc.boolean(),
  finish: fc.boolean(),
  refusedAt: fc.option(fc.constantFrom("header" as const, "auth" as const), { nil: undefined, freq: 3 })
}).map(({ auth, body, refusedAt, ...rest }) => ({
  header: {
    version: "1.0.0",
    zstd: false,
    ...rest,
    auth_size: auth.length,
    body_size: body.length
  },
  auth,
  body,
  refusedAt
}))

const samples = fc.array(sample, { minLength: 1, maxLength: 6 })

/** The lengths of the pieces that a stream arrives in; repeated as often as needed. */
const pieces = fc.oneof(
  fc.constant([1]),
  fc.array(fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 20_000 })), {
    minLength: 1,
    maxLength: 12
  })
)

function* split(stream: Uint8Array, lengths: ReadonlyArray<number>): Generator<Uint8Array> {
  for (let at = 0, turn = 0; at < stream.length; turn++) {
    const length = lengths[turn % lengths.length] ?? 1
    yield stream.slice(at, at + length)
    at += length
  }
}

const refusal = refuse("2:big", "too large for this test")

/** Runs a parser over samples and writes down what it says. */
const observe = (stream: ReadonlyArray<Sample>) => {
  const outcomes: Array<Outcome> = []
  let faults = 0
  let turn = 0
  const current = (): Sample["refusedAt"] => stream[turn]?.refusedAt
  const parser = new Parser<RequestHeader>({
    parseHeader: parseRequestHeader,
    onHeader: () => current() === "header" ? refusal : undefined,
    onAuth: () => current() === "auth" ? refusal : undefined,
    onMessage: (message) => {
      turn++
      outcomes.push(received(message))
    },
    onSkipped: (header, why) => {
      turn++
      assert.strictEqual(why, refusal)
      outcomes.push({ id: header.id, more: header.more, skipped: true, auth: "", body: "", data: "" })
    },
    onFault: () => void faults++
  })
  return { parser, outcomes, faults: () => faults }
}

describe("a stream of valid messages", () => {
  it("gives the same messages however it is split, and refused ones never shift their neighbours", () => {
    fc.assert(
      fc.property(samples, pieces, (stream, lengths) => {
        const seen = observe(stream)
        for (const piece of split(concat(stream.map(encode)), lengths)) seen.parser.push(piece)
        assert.deepStrictEqual(seen.outcomes, stream.map(expected))
        assert.strictEqual(seen.faults(), 0)
        assert.isTrue(seen.parser.idle)
      }),
      { numRuns: 150 }
    )
  })

  it("gives each message with its last byte, not sooner and not later", () => {
    fc.assert(
      fc.property(samples, pieces, (stream, lengths) => {
        const seen = observe(stream)
        const ends: Array<number> = []
        for (const message of stream) ends.push((ends.at(-1) ?? 0) + encode(message).length)
        let pushed = 0
        let ended = 0
        for (const piece of split(concat(stream.map(encode)), lengths)) {
          seen.parser.push(piece)
          pushed += piece.length
          while (ended < ends.length && (ends[ended] ?? 0) <= pushed) ended++
          const between = pushed === ends[ended - 1]
          if (seen.outcomes.length !== ended || seen.parser.idle !== between) {
            assert.fail(`after ${pushed} bytes: ${seen.outcomes.length} messages, idle: ${seen.parser.idle}`)
          }
        }
      }),
      { numRuns: 100 }
    )
  })

  it("takes many messages out of one piece", () => {
    const one = encodeRequestHeader({
      id: 1,
      category: 1,
      subcategory: 0,
      auth_size: 0,
      body_size: 0,
      data_size: 0,
      more: false,
      finish: false
    })
    let count = 0
    const parser = new Parser({ parseHeader: parseRequestHeader, onMessage: () => count++, onFault: assert.fail })
    parser.push(concat(Array.from({ length: 1000 }, () => one)))
    assert.strictEqual(count, 1000)
  })

  it("ends for good when a handler stops it", () => {
    fc.assert(
      fc.property(
        samples,
        pieces,
        fc.constantFrom("onHeader", "onAuth", "onMessage", "onSkipped"),
        (stream, lengths, where) => {
          const events: Array<string> = []
          const at = (event: string): undefined => {
            events.push(event)
            if (event === where) parser.stop()
            return undefined
          }
          let turn = 0
          const parser: Parser<RequestHeader> = new Parser<RequestHeader>({
            parseHeader: parseRequestHeader,
            onHeader: () => at("onHeader") ?? (stream[turn]?.refusedAt === "header" ? refusal : undefined),
            onAuth: () => at("onAuth") ?? (stream[turn]?.refusedAt === "auth" ? refusal : undefined),
            onMessage: () => {
              turn++
              at("onMessage")
            },
            onSkipped: () => {
              turn++
              at("onSkipped")
            },
            onFault: assert.fail
          })
          for (const piece of split(concat(stream.map(encode)), lengths)) parser.push(piece)
          const stopped = events.indexOf(where)
          assert.strictEqual(parser.dead, stopped >= 0)
          if (stopped >= 0) assert.strictEqual(stopped, events.length - 1)
        }
      ),
      { numRuns: 100 }
    )
  })
})

const header = (sizes: { auth_size?: number; body_size?: number; data_size?: number }): Uint8Array =>
  encodeRequestHeader({
    id: 1,
    category: 4,
    subcategory: 1,
    auth_size: 0,
    body_size: 0,
    data_size: 0,
    more: false,
    finish: false,
    ...sizes
  })

const withinCaps = ({ auth_size, body_size, data_size }: RequestHeader): Refusal | undefined =>
  auth_size > 4096 || body_size > MAX_BODY_BYTES || data_size > MAX_DATA_BYTES ? refusal : undefined

const collect = (messages: Array<Message<RequestHeader>>): Handlers<RequestHeader> => ({
  parseHeader: parseRequestHeader,
  onHeader: withinCaps,
  onMessage: (message) => void messages.push(message),
  onFault: assert.fail
})

setFlagsFromString("--expose-gc")
const gc: unknown = runInNewContext("gc")

/**
 * Pushes `start`, then `size` bytes twice: once from one chunk, to see what the parser allocates, and once in chunks of
 * their own, to see which it holds on to.
 */
const kept = async (parser: Parser<RequestHeader>, start: Uint8Array, size: number) => {
  const chunk = new Uint8Array(64 * 1024)
  const before = process.memoryUsage().arrayBuffers
  parser.push(start)
  for (let at = 0; at < size; at += chunk.length) parser.push(chunk)
  const bytes = process.memoryUsage().arrayBuffers - before
  parser.push(start)
  const chunks = Array.from({ length: size / chunk.length }, () => {
    const own = new Uint8Array(chunk.length)
    parser.push(own)
    return new WeakRef(own.buffer)
  })
  // What a job has touched stays alive until it ends.
  await new Promise((resume) => void setImmediate(resume))
  if (typeof gc === "function") gc()
  return { bytes, chunks: chunks.filter((chunk) => chunk.deref() !== undefined).length }
}

describe("what a parser keeps", () => {
  it("is nothing of a message that its header already rules out, however large it says it is", async () => {
    for (const sizes of [{ auth_size: 2 ** 26 }, { body_size: 2 ** 40 }, { data_size: Number.MAX_SAFE_INTEGER }]) {
      const parser = new Parser(collect([]))
      const { bytes, chunks } = await kept(parser, header(sizes), 8 * 1024 * 1024)
      assert.isBelow(bytes, 64 * 1024, JSON.stringify(sizes))
      assert.strictEqual(chunks, 0)
      assert.isFalse(parser.idle)
    }
  })

  it("is nothing of body and data when the auth component was refused", async () => {
    const parser = new Parser({ ...collect([]), onAuth: () => refusal })
    const sizes = { auth_size: 1, body_size: MAX_BODY_BYTES, data_size: MAX_DATA_BYTES }
    const { bytes, chunks } = await kept(
      parser,
      concat([header(sizes), Uint8Array.of(0x7b)]),
      MAX_BODY_BYTES + MAX_DATA_BYTES
    )
    assert.isBelow(bytes, 64 * 1024)
    assert.strictEqual(chunks, 0)
    assert.isTrue(parser.idle)
  })

  it("is all of a message that was not refused: what is measured above can be seen", async () => {
    const messages: Array<Message<RequestHeader>> = []
    const { bytes, chunks } = await kept(
      new Parser(collect(messages)),
      header({ body_size: MAX_BODY_BYTES, data_size: MAX_DATA_BYTES }),
      MAX_BODY_BYTES + MAX_DATA_BYTES
    )
    assert.isAtLeast(bytes, MAX_BODY_BYTES)
    assert.strictEqual(chunks, MAX_DATA_BYTES / (64 * 1024))
    assert.lengthOf(messages, 2)
  })

  it("is not multiplied by a peer that sends its data in crumbs", () => {
    const messages: Array<Message<RequestHeader>> = []
    const parser = new Parser(collect(messages))
    const data = pattern(256 * 1024)
    parser.push(header({ data_size: data.length }))
    for (const byte of data) parser.push(Uint8Array.of(byte))
    const [message] = messages
    if (message === undefined) return assert.fail("no message")
    assert.strictEqual(hex(concat(message.data)), hex(data))
    assert.isAtMost(message.data.length, data.length / 1024)
    assert.isAtMost(new Set(message.data.map((view) => view.buffer)).size, data.length / 1024)
  })

  it("is bounded in pieces and in bytes for any split of the data", () => {
    fc.assert(
      fc.property(fc.nat(40_000), pieces, (size, lengths) => {
        const data = pattern(size)
        const messages: Array<Message<RequestHeader>> = []
        const parser = new Parser(collect(messages))
        parser.push(header({ data_size: data.length }))
        for (const piece of split(data, lengths)) parser.push(piece)
        const views = messages[0]?.data ?? []
        assert.isTrue(Buffer.from(concat(views)).equals(data))
        assert.isAtMost(views.length, size / 1024 + 1)
        // Every piece was a buffer of its own; one may be alive for its end after its beginning went into a block.
        const alive = [...new Set(views.map((view) => view.buffer))].reduce((sum, buffer) => sum + buffer.byteLength, 0)
        assert.isAtMost(alive, 2 * size)
      }),
      { numRuns: 60 }
    )
  })

  it("is the chunk itself, not a copy, for data that comes in large pieces", () => {
    const messages: Array<Message<RequestHeader>> = []
    const parser = new Parser(collect(messages))
    const data = pattern(48 * 1024)
    parser.push(header({ data_size: data.length }))
    parser.push(data.subarray(0, 16 * 1024))
    parser.push(data.subarray(16 * 1024))
    assert.deepStrictEqual(messages[0]?.data.map((view) => view.buffer === data.buffer), [true, true])
  })
})

describe("bytes that are no messages", () => {
  it("never make the parser throw or loop; it says so once and takes nothing more", () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 1500 }),
      anyText(300).map((text) => new TextEncoder().encode(text)),
      fc.json({ maxDepth: 3 }).map((text) => new TextEncoder().encode(text.padEnd(HEADER_BYTES, " ")))
    )
    // Whatever the garbage's length, this makes it more than a header.
    const end = new Uint8Array(HEADER_BYTES).fill(0xff)
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 3 }), garbage, samples, pieces, (before, noise, after, lengths) => {
        const seen = observe(before)
        for (const piece of split(concat([...before.map(encode), noise, end]), lengths)) seen.parser.push(piece)
        for (const message of after) seen.parser.push(encode(message))
        assert.deepStrictEqual(seen.outcomes, before.map(expected))
        assert.strictEqual(seen.faults(), 1)
        assert.isTrue(seen.parser.dead)
      }),
      { numRuns: 100 }
    )
  })

  it("in place of one header leave the messages before it whole", () => {
    fc.assert(
      fc.property(
        samples,
        fc.uint8Array({ minLength: HEADER_BYTES, maxLength: HEADER_BYTES }),
        samples,
        pieces,
        (before, noise, after, lengths) => {
          const seen = observe(before)
          const stream = concat([...before.map(encode), noise, ...after.map(encode)])
          for (const piece of split(stream, lengths)) seen.parser.push(piece)
          assert.deepStrictEqual(seen.outcomes, before.map(expected))
          assert.strictEqual(seen.faults(), 1)
        }
      ),
      { numRuns: 100 }
    )
  })
})
