/**
 * Shares a file for a week, and takes it back: `node examples/share-report.ts <host> <port> share <local file> <user>`,
 * then `… take-back <local file> <user>`, with FIP_USERNAME and FIP_PASSWORD in the environment.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect } from "effect"
import { FipClient } from "fip"
import { basename } from "node:path"

const [host = "localhost", port = "6090", what = "share", report = "report.pdf", user = ""] = process.argv.slice(2)
const name = `reports/${basename(report)}`
const WEEK = 7 * 24 * 60 * 60 * 1000

const share = Effect.gen(function*() {
  const fip = yield* FipClient
  yield* fip.upload(report, name)
  const { expires_at, owner } = yield* fip.grant(user, name, "READ", { durationMs: WEEK })
  yield* Console.log(`${user} may read ~${owner}/${name} until ${expires_at}`)
})

const takeBack = Effect.gen(function*() {
  const fip = yield* FipClient
  const { remaining } = yield* fip.revoke(user, name)
  // A folder above that is shared, or is public, would let them read on.
  yield* Console.log(
    remaining === undefined
      ? `${user} may not read ${name} any more`
      : `${user} may still ${remaining.role} ${name}, because ${remaining.through ?? "it is public"} lets them`
  )
}).pipe(
  Effect.catchTag("Refusal", (refusal) =>
    // Nothing to take back: the week is over.
    refusal.code === "2:opcf" ? Console.log(refusal.message) : Effect.fail(refusal))
)

const program = Effect.gen(function*() {
  const fip = yield* FipClient
  yield* fip.login(yield* Config.String("FIP_USERNAME"), yield* Config.Redacted("FIP_PASSWORD"))
  yield* what === "share" ? share : takeBack
})

NodeRuntime.runMain(Effect.provide(program, FipClient.layer({ host, port: Number(port), onNotice: console.error })))
