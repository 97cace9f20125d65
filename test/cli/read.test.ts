import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { Writable } from "node:stream"
import { Jobs } from "../../src/cli/shell/Jobs.ts"
import { Output } from "../../src/cli/shell/Output.ts"
import { Questions } from "../../src/cli/shell/Questions.ts"
import { runLine } from "../../src/cli/shell/Shell.ts"
import { ConnectionLost, IntegrityError, type TransferError } from "../../src/client/ClientError.ts"
import type { FipClientShape } from "../../src/client/FipClient.ts"
import { FipClient } from "../../src/client/FipClient.ts"
import { FileName } from "../../src/protocol/FileName.ts"
import { Username } from "../../src/protocol/Identity.ts"
import { Capture, recordingClient, runCommand } from "../support/ShellHarness.ts"

const utf8 = new TextEncoder()

const opening = (content: Stream.Stream<Uint8Array, TransferError>, length: number): Partial<FipClientShape> => ({
  open: () =>
    Effect.succeed({
      head: {
        owner: Username.make("alice_smith"),
        name: FileName.make("f"),
        size: length,
        version: 1,
        position: 0,
        length
      },
      content
    })
})

const holding = (...chunks: ReadonlyArray<Uint8Array>): Partial<FipClientShape> =>
  opening(Stream.fromIterable(chunks), chunks.reduce((sum, chunk) => sum + chunk.length, 0))

/** READ f at a terminal, with an answer to whatever is asked. */
const atTerminal = Effect.fnUntraced(function*(answers: Partial<FipClientShape>, yes = false) {
  const stdout = new Capture(true)
  const stderr = new Capture(true)
  const asked: Array<string> = []
  const { status } = yield* runLine("READ f").pipe(
    Effect.provideService(FipClient, recordingClient([], answers)),
    Effect.provideService(
      Questions,
      Questions.of({
        attended: true,
        text: () => Effect.die("no text is asked for"),
        secret: () => Effect.die("no secret is asked for"),
        confirm: (question) =>
          Effect.sync(() => {
            asked.push(question)
            return yes
          })
      })
    ),
    Effect.provide(Layer.mergeAll(Output.layerStreams({ stdout, stderr }), Jobs.layer, NodeServices.layer))
  )
  return { status, asked, stdout: stdout.text, bytes: stdout.bytes, stderr: stderr.text }
})

describe("READ", () => {
  it.effect("writes the bytes and nothing else when stdout is no terminal", () =>
    Effect.gen(function*() {
      const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => index % 256)
      const run = yield* runCommand(["READ", "f"], { answers: holding(bytes.slice(0, 300), bytes.slice(300)) })
      assert.isTrue(run.bytes.equals(bytes))
      assert.strictEqual(run.stderr, "")
    }))

  it.effect("asks for the whole file unless limited (original.md, defect 35)", () =>
    Effect.gen(function*() {
      const run = yield* runCommand(["READ", "f"])
      assert.deepStrictEqual(run.calls[0], ["open", "f", {}])
    }))

  it.effect("shows text at a terminal without what would steer it, and ends the last line", () =>
    Effect.gen(function*() {
      const text = utf8.encode("one\r\n\u001b[31mtwo\u001b]0;title\u009b \tünï\u202e")
      const shown = yield* atTerminal(holding(text))
      assert.strictEqual(shown.stdout, "one\n\\x1b[31mtwo\\x1b]0;title\\x9b \tünï\\u202e\n")
      assert.deepStrictEqual(shown.asked, [])
    }))

  it.effect("joins characters and line ends that chunks split", () =>
    Effect.gen(function*() {
      const bytes = utf8.encode("ü\r\né\n")
      const run = yield* atTerminal(holding(...Array.from(bytes, (byte) => Uint8Array.of(byte))))
      assert.strictEqual(run.stdout, "ü\né\n")
    }))

  it.effect("asks before it shows at a terminal what is not text", () =>
    Effect.gen(function*() {
      for (const bytes of [Uint8Array.of(0, 1, 2), Uint8Array.of(0x61, 0xff, 0x61), Uint8Array.of(0x61, 0x07)]) {
        const declined = yield* atTerminal(holding(bytes))
        assert.strictEqual(declined.asked.length, 1)
        assert.strictEqual(declined.stdout, "")
        assert.strictEqual(declined.status, 2)
        const shown = yield* atTerminal(holding(bytes), true)
        assert.isTrue(shown.bytes.subarray(0, bytes.length).equals(bytes))
        assert.strictEqual(shown.status, 0)
      }
    }))

  it.effect("refuses it where nobody can be asked", () =>
    Effect.gen(function*() {
      const stdout = new Capture(true)
      const run = yield* runCommand(["READ", "f"], { stdout, answers: holding(Uint8Array.of(0, 1, 2)) })
      assert.strictEqual(run.status, 2)
      assert.include(run.stderr, "send standard output to a file, or use DOWNLOAD")
      assert.strictEqual(stdout.text, "")
    }))

  it.effect("waits for a slow reader", () =>
    Effect.gen(function*() {
      let made = 0
      let taken = 0
      let ahead = 0
      const stdout = new Writable({
        highWaterMark: 1,
        write: (_chunk, _encoding, done) => {
          taken++
          setImmediate(done)
        }
      })
      const content = Stream.range(1, 200).pipe(Stream.mapEffect(() =>
        Effect.sync(() => {
          made++
          ahead = Math.max(ahead, made - taken)
          return new Uint8Array(1000)
        })
      ))
      yield* runCommand(["READ", "f"], { stdout, answers: opening(content, 200_000) })
      assert.strictEqual(taken, 200)
      assert.isBelow(ahead, 5)
    }))

  it.effect("ends when nobody reads any more, and closes the file", () =>
    Effect.gen(function*() {
      let closed = false
      let written = 0
      const stdout = new Writable({
        write: (_chunk, _encoding, done) => {
          written++
          done(written > 2 ? Object.assign(new Error("write EPIPE"), { code: "EPIPE" }) : undefined)
        }
      })
      const content = Stream.forever(Stream.make(new Uint8Array(10))).pipe(
        Stream.ensuring(Effect.sync(() => {
          closed = true
        }))
      )
      const error = yield* Effect.flip(runCommand(["READ", "f"], { stdout, answers: opening(content, 1e9) }))
      assert.strictEqual(error._tag, "OutputClosed")
      assert.isTrue(closed)
    }))

  it.effect("that breaks off is an interrupted transfer", () =>
    Effect.gen(function*() {
      for (const error of [new ConnectionLost({ message: "gone" }), new IntegrityError({ message: "damaged" })]) {
        const content = Stream.concat(Stream.make(utf8.encode("he")), Stream.fail(error))
        const run = yield* runCommand(["READ", "f"], { answers: opening(content, 5) })
        assert.strictEqual(run.status, 6)
        assert.strictEqual(run.stdout, "he")
      }
    }))

  it.effect("has its content in JSON as text, or as base64 where it is no UTF-8", () =>
    Effect.gen(function*() {
      const text = yield* runCommand(["READ", "f"], { json: true, answers: holding(utf8.encode("\ufeffhé\u0000")) })
      assert.strictEqual(JSON.parse(text.stdout).result.text, "\ufeffhé\u0000")
      const bytes = yield* runCommand(["READ", "f"], { json: true, answers: holding(Uint8Array.of(0xff, 0xfe)) })
      assert.strictEqual(JSON.parse(bytes.stdout).result.base64, "//4=")
      assert.notProperty(JSON.parse(bytes.stdout).result, "text")
    }))

  it.effect("refuses in JSON what is larger than 1 MiB, and says what to do", () =>
    Effect.gen(function*() {
      const large = 1024 * 1024 + 1
      const run = yield* runCommand(["READ", "f"], {
        json: true,
        answers: opening(Stream.forever(Stream.make(new Uint8Array(1000))), large)
      })
      const { code, message } = JSON.parse(run.stdout)
      assert.strictEqual(code, "local:usage")
      assert.include(message, "--limit, or DOWNLOAD")
      assert.strictEqual(run.status, 2)
    }))
})
