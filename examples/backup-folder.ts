/**
 * Backs a folder up, four files at a time, and sends only what is not on the server as it is here:
 * `node examples/backup-folder.ts <host> <port> <folder>`, with FIP_USERNAME and FIP_PASSWORD in the environment.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Stream } from "effect"
import { FipClient } from "fip"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { readdir } from "node:fs/promises"
import { basename, join, relative, resolve } from "node:path"
import { pipeline } from "node:stream/promises"

const [host = "localhost", port = "6090", folder = "."] = process.argv.slice(2)

const hashOf = (path: string) =>
  Effect.promise(async () => {
    const hash = createHash("sha256")
    await pipeline(createReadStream(path), hash)
    return hash.digest("hex")
  })

const program = Effect.gen(function*() {
  const fip = yield* FipClient
  yield* fip.login(yield* Config.String("FIP_USERNAME"), yield* Config.Redacted("FIP_PASSWORD"))

  const prefix = `backup/${basename(resolve(folder))}/`
  const kept = new Map<string, string | undefined>()
  yield* Stream.runForEach(
    fip.list({ prefix, recursive: true }),
    (entry) => Effect.sync(() => entry._tag === "File" && kept.set(entry.file.name, entry.file.sha256))
  )

  const entries = yield* Effect.promise(() => readdir(folder, { recursive: true, withFileTypes: true }))
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  let sent = 0
  yield* Effect.forEach(paths, (path) =>
    Effect.gen(function*() {
      const name = `${prefix}${relative(folder, path)}`.normalize("NFC")
      if (kept.get(name) === (yield* hashOf(path))) return
      yield* fip.upload(path, name)
      sent += 1
    }), { concurrency: 4 })
  yield* Console.log(`${sent} of ${paths.length} files sent to ${prefix}`)
})

NodeRuntime.runMain(Effect.provide(program, FipClient.layer({ host, port: Number(port), onNotice: console.error })))
