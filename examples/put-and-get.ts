/**
 * Puts a text on a server and gets it back: `node examples/put-and-get.ts <host> <port>`, with FIP_USERNAME and
 * FIP_PASSWORD in the environment. Registers the user if there is none.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Stream } from "effect"
import { FipClient } from "fip"

const [host = "localhost", port = "6090"] = process.argv.slice(2)

const program = Effect.gen(function*() {
  const fip = yield* FipClient
  const username = yield* Config.String("FIP_USERNAME")
  const password = yield* Config.Redacted("FIP_PASSWORD")

  yield* fip.register(username, password).pipe(
    Effect.catchTag("Refusal", (refusal) => refusal.code === "2:dup" ? Effect.void : Effect.fail(refusal))
  )
  yield* fip.login(username, password)

  const { version } = yield* fip.write("greetings/hello.txt", "Grüße aus FIP\n")
  const text = yield* fip.read("greetings/hello.txt").pipe(Stream.decodeText, Stream.mkString)
  yield* Console.log(`version ${version}: ${text.trim()}`)
  yield* fip.logout()
})

NodeRuntime.runMain(Effect.provide(program, FipClient.layer({ host, port: Number(port), onNotice: console.error })))
