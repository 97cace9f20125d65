/**
 * Sends what is added to a log file, as it is added: `node examples/tail-log.ts <host> <port> <log file> <name>`, with
 * FIP_USERNAME and FIP_PASSWORD in the environment, until it is interrupted.
 *
 * How much is there already is what the server says, so it goes on where it stopped, also after a crash of either side,
 * and sends nothing twice. A log that begins anew, because it was rotated, does so on the server too: the old one is
 * renamed.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Option, Schedule, Stream } from "effect"
import { FipClient, LocalFileError } from "fip"
import { createReadStream } from "node:fs"
import { stat, watch } from "node:fs/promises"
import { basename, dirname, resolve } from "node:path"

const [host = "localhost", port = "6090", log = "log.txt", name = `logs/${basename(log)}`] = process.argv.slice(2)

const failed = (cause: unknown) => new LocalFileError({ path: log, message: `cannot read ${log}`, cause })

const program = Effect.gen(function*() {
  const fip = yield* FipClient
  yield* fip.login(yield* Config.String("FIP_USERNAME"), yield* Config.Redacted("FIP_PASSWORD"))

  const sent = fip.queryFile(name).pipe(
    Effect.asSome,
    Effect.catchTag("Refusal", (refusal) => refusal.code === "2:nf" ? Effect.succeedNone : Effect.fail(refusal))
  )

  const catchUp = Effect.gen(function*() {
    const there = yield* sent
    const { size } = yield* Effect.tryPromise({ try: () => stat(log), catch: failed })
    const from = Option.match(there, { onNone: () => 0, onSome: ({ size }) => size })
    if (size === from && Option.isSome(there)) return
    if (Option.isSome(there) && size < from) {
      const old = `${name}.${there.value.modified_at.replaceAll(/\W/g, "-")}`
      yield* fip.rename(name, old, { expectedVersion: there.value.version })
      yield* Console.log(`${log} begins anew: the log before is ${old}`)
    }
    const begin = size < from ? 0 : from
    const added = size === begin
      ? Stream.empty
      : Stream.fromAsyncIterable<Uint8Array, LocalFileError>(
        createReadStream(log, { start: begin, end: size - 1 }),
        failed
      )
    // The version makes sure that the bytes are added where they belong, whoever else writes.
    const { version } = Option.isSome(there) && size >= from
      ? yield* fip.append(name, added, { expectedVersion: there.value.version })
      : yield* fip.create(name, added)
    yield* Console.log(`${size - begin} bytes, version ${version}`)
  }).pipe(
    // A lost answer leaves open whether the bytes were added: the next look at the server tells.
    Effect.retry({
      schedule: Schedule.spaced("1 second"),
      while: (error) => error._tag === "ConnectionLost" || error._tag === "ConnectError"
    })
  )

  const changes = Stream.fromAsyncIterable(watch(dirname(resolve(log))), failed).pipe(
    Stream.filter(({ filename }) => filename === basename(log)),
    Stream.map(() => undefined)
  )
  yield* Stream.make(undefined).pipe(
    Stream.merge(changes),
    // However much happens while something is sent, one look afterwards is enough.
    Stream.buffer({ capacity: 1, strategy: "sliding" }),
    Stream.runForEach(() => catchUp)
  )
})

NodeRuntime.runMain(Effect.provide(program, FipClient.layer({ host, port: Number(port), onNotice: console.error })))
