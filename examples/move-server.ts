/**
 * Takes everything that one has from one server to another: all versions that are kept, oldest first, who may do what,
 * and what is public. `node examples/move-server.ts <host> <port> <new host> <new port>`, with FIP_USERNAME and
 * FIP_PASSWORD in the environment, for both.
 *
 * Nothing is removed from the old server, and what the new one has under the same name with the same content is left as
 * it is: it can be run again. People who are not on the new server are named, and get nothing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Context, Effect, Layer, Stream } from "effect"
import { FipClient, type FipClientShape } from "fip"

const [host = "localhost", port = "6090", newHost = "localhost", newPort = "6091"] = process.argv.slice(2)

const connect = Effect.fnUntraced(function*(host: string, port: string) {
  const layer = FipClient.layer({ host, port: Number(port), onNotice: console.error })
  const fip = Context.get(yield* Layer.build(layer), FipClient)
  yield* fip.login(yield* Config.String("FIP_USERNAME"), yield* Config.Redacted("FIP_PASSWORD"))
  return fip
})

/** All versions of a file, oldest first, straight from one server to the other. */
const moveContent = Effect.fnUntraced(function*(from: FipClientShape, to: FipClientShape, name: string) {
  const old = yield* from.queryFile(name, { hash: true })
  const there = yield* to.queryFile(name, { hash: true }).pipe(
    Effect.catchTag("Refusal", (refusal) => refusal.code === "2:nf" ? Effect.undefined : Effect.fail(refusal))
  )
  if (there?.sha256 === old.sha256) return 0
  const { versions } = yield* from.queryVersions(name)
  for (const { version } of versions.toReversed()) {
    // Each is hashed on its way out, and again on its way in.
    yield* to.write(name, from.read(name, { version }))
  }
  const now = yield* to.queryFile(name, { hash: true })
  if (now.sha256 !== old.sha256) return yield* Effect.die(`${name} is not what it was`)
  return versions.length
})

/** What was granted on the file or the folder itself, and whether it is public by itself. */
const moveRights = Effect.fnUntraced(function*(from: FipClientShape, to: FipClientShape, name: string) {
  const rights = yield* from.queryPermission(name)
  if (rights.public && rights.public_through === undefined) yield* to.publicise(name)
  for (const { expires_at, role, through, username } of rights.grants) {
    const durationMs = expires_at === undefined ? undefined : Date.parse(expires_at) - Date.now()
    if (through !== undefined || (durationMs !== undefined && durationMs <= 0)) continue
    yield* to.grant(username, name, role, { durationMs }).pipe(
      Effect.catchTag(
        "Refusal",
        (refusal) => refusal.code === "2:unf" ? Console.log(`${name}: ${refusal.message}`) : Effect.fail(refusal)
      )
    )
  }
})

const program = Effect.gen(function*() {
  const from = yield* connect(host, port)
  const to = yield* connect(newHost, newPort)

  const folders = new Set<string>(["/"])
  let files = 0
  let versions = 0
  yield* from.list({ recursive: true }).pipe(
    Stream.filter((entry) => entry._tag === "File"),
    Stream.mapEffect(({ file: { name } }) =>
      Effect.gen(function*() {
        for (let end = name.indexOf("/"); end >= 0; end = name.indexOf("/", end + 1)) {
          folders.add(name.slice(0, end + 1))
        }
        versions += yield* moveContent(from, to, name)
        yield* moveRights(from, to, name)
        files += 1
      }), { concurrency: 4 }),
    Stream.runDrain
  )
  for (const folder of folders) yield* moveRights(from, to, folder)
  yield* Console.log(`${files} files are on ${newHost}:${newPort}, ${versions} versions sent`)
}).pipe(Effect.scoped)

NodeRuntime.runMain(program)
