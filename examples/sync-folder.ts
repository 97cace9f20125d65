/**
 * Keeps a folder here and a folder on the server the same while it runs, whichever of them changes:
 * `node examples/sync-folder.ts <host> <port> <folder> <name/>`, with FIP_USERNAME and FIP_PASSWORD in the environment.
 *
 * For each file it remembers the content on which both agreed last. What differs from it has changed: on one side, and
 * then the other follows; or on both, and then the server's stays under the name and this one is kept beside it as
 * `name (conflict)`. Its own changes come back to it as news, and find both sides agreed: there are no echoes.
 *
 * When it starts it knows nothing, so a file that is on one side only is taken to the other.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Option, Queue, Stream } from "effect"
import { FipClient, LocalFileError, type Refusal } from "fip"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdir, readdir, rename, rm, watch } from "node:fs/promises"
import { dirname, extname, join, relative, sep } from "node:path"
import { pipeline } from "node:stream/promises"

const [host = "localhost", port = "6090", folder = ".", prefix = "sync/"] = process.argv.slice(2)

const local = <A>(path: string, action: () => Promise<A>) =>
  Effect.tryPromise({
    try: action,
    catch: (cause) => new LocalFileError({ path, message: `cannot use ${path}`, cause })
  })

/** `undefined` for what is no file, or not there. */
const hashHere = (path: string) =>
  Effect.promise(async () => {
    const hash = createHash("sha256")
    return pipeline(createReadStream(path), hash).then(() => hash.digest("hex"), () => undefined)
  })

/** Downloads of this program and of others are not whole yet. */
const isPassing = (name: string) => name.split("/").some((part) => part.startsWith(".fip-"))

const isMoved = ({ code }: Refusal) => code === "2:vcf" || code === "2:nf" || code === "2:cnf"

const program = Effect.gen(function*() {
  const fip = yield* FipClient
  yield* fip.login(yield* Config.String("FIP_USERNAME"), yield* Config.Redacted("FIP_PASSWORD"))
  const names = yield* Queue.unbounded<string>()
  /** What both sides had last. */
  const agreed = new Map<string, string>()

  const settle = Effect.fnUntraced(function*(name: string) {
    const path = join(folder, name)
    const remote = prefix + name
    const there = yield* fip.queryFile(remote, { hash: true }).pipe(
      Effect.asSome,
      Effect.catchTag("Refusal", (refusal) => refusal.code === "2:nf" ? Effect.succeedNone : Effect.fail(refusal)),
      Effect.map(Option.getOrUndefined)
    )
    const here = yield* hashHere(path)
    const before = agreed.get(name)
    const expectedVersion = there?.version
    let content = here
    if (here !== there?.sha256) {
      if (here !== undefined && there !== undefined && here !== before && there.sha256 !== before) {
        const ending = extname(name)
        const other = `${name.slice(0, name.length - ending.length)} (conflict)${ending}`
        yield* local(path, () => rename(path, join(folder, other)))
        yield* Console.log(`${name}: changed on both sides, this one is now ${other}`)
        yield* Queue.offer(names, other)
      }
      if (there !== undefined && there.sha256 !== before) {
        yield* local(path, () => mkdir(dirname(path), { recursive: true }))
        yield* fip.download(remote, path, { version: there.version })
        content = there.sha256
        yield* Console.log(`${name}: fetched`)
      } else if (here === undefined) {
        yield* fip.delete(remote, { expectedVersion })
        yield* Console.log(`${name}: deleted on the server`)
      } else if (there === undefined && here === before) {
        yield* local(path, () => rm(path))
        content = undefined
        yield* Console.log(`${name}: deleted here`)
      } else {
        const mode = there === undefined ? "create" : "replace"
        content = (yield* fip.upload(path, remote, { mode, expectedVersion, hash: true })).sha256
        yield* Console.log(`${name}: sent`)
      }
    }
    if (content === undefined) agreed.delete(name)
    else agreed.set(name, content)
  })

  const changesHere = Stream.fromAsyncIterable(
    watch(folder, { recursive: true }),
    (cause) => new LocalFileError({ path: folder, message: `cannot watch ${folder}`, cause })
  ).pipe(
    Stream.map(({ filename }) => filename?.split(sep).join("/").normalize("NFC") ?? ""),
    Stream.filter((name) => name !== "" && !isPassing(name)),
    Stream.runForEach((name) => Queue.offer(names, name))
  )
  const changesThere = fip.watch({
    prefix,
    onReady: () => console.log(`${folder} and ${prefix} are kept the same`)
  }).pipe(
    Stream.flatMap(({ name, new_name }) => Stream.make(name, ...(new_name === undefined ? [] : [new_name]))),
    Stream.filter((name) => name.startsWith(prefix) && name !== prefix),
    Stream.runForEach((name) => Queue.offer(names, name.slice(prefix.length)))
  )
  const everything = Effect.gen(function*() {
    const files = yield* local(folder, () => readdir(folder, { recursive: true, withFileTypes: true }))
    for (const file of files) {
      const name = relative(folder, join(file.parentPath, file.name)).split(sep).join("/").normalize("NFC")
      if (file.isFile() && !isPassing(name)) yield* Queue.offer(names, name)
    }
    yield* Stream.runForEach(
      fip.list({ prefix, recursive: true }),
      (entry) => entry._tag === "File" ? Queue.offer(names, entry.file.name.slice(prefix.length)) : Effect.void
    )
  })
  // One at a time: two views of a file are never settled at once.
  const settling = Effect.forever(
    Effect.flatMap(Queue.take(names), (name) =>
      settle(name).pipe(
        // It was changed while it was looked at: look again.
        Effect.catchTag("Refusal", (refusal) => isMoved(refusal) ? Queue.offer(names, name) : Effect.fail(refusal))
      ))
  )
  yield* Effect.all([changesThere, changesHere, everything, settling], { concurrency: "unbounded", discard: true })
})

NodeRuntime.runMain(Effect.provide(program, FipClient.layer({ host, port: Number(port), onNotice: console.error })))
