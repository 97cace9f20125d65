/**
 * The SHA-256 of local files, computed once: a journal keeps them for the next run, by what each file is known. A file
 * that was written since, or replaced, is read again.
 */
import { Effect, Option, Schema, type Scope } from "effect"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { LocalFileError } from "../../client/ClientError.ts"
import type { FipClient } from "../../client/FipClient.ts"
import type { FileFacts } from "../../client/LocalFile.ts"
import { systemErrorReason } from "../../platform/systemError.ts"
import { Sha256 } from "../../protocol/Identity.ts"
import type { LocalFile } from "./localTree.ts"
import { Facts, isSame } from "./treeNotes.ts"

/** Files that are read at once. */
const AT_ONCE = 4
const READ_BYTES = 1024 * 1024

const decodeLine = Schema.decodeUnknownOption(Schema.Struct({ name: Schema.String, sha256: Sha256, local: Facts }))

const hashOf = ({ path }: LocalFile, onBytes: (bytes: number) => void): Effect.Effect<Sha256, LocalFileError> =>
  Effect.tryPromise({
    try: async (signal) => {
      const hash = createHash("sha256")
      const content: AsyncIterable<Uint8Array> = createReadStream(path, { highWaterMark: READ_BYTES, signal })
      for await (const chunk of content) {
        hash.update(chunk)
        onBytes(chunk.length)
      }
      return Sha256.make(hash.digest("hex"))
    },
    catch: (cause) => new LocalFileError({ path, message: `cannot read ${path}: ${systemErrorReason(cause)}`, cause })
  })

/** The hashes of files by name; `key` names the journal. */
export const localHashes = Effect.fnUntraced(function*(
  client: FipClient["Service"],
  key: ReadonlyArray<string>,
  files: ReadonlyArray<LocalFile>,
  onBytes: (bytes: number) => void
): Effect.fn.Return<ReadonlyMap<string, Sha256>, LocalFileError, Scope.Scope> {
  const hashes = new Map<string, Sha256>()
  if (files.length === 0) return hashes
  const journal = yield* client.transferNotes(key)
  const known = new Map(
    (journal?.found ?? []).flatMap((line) => Option.toArray(decodeLine(line))).map((line) => [line.name, line])
  )
  const of = new Map<string, FileFacts>()
  yield* Effect.forEach(
    files,
    Effect.fnUntraced(function*(file) {
      const noted = known.get(file.name)
      of.set(file.name, file.facts)
      if (noted !== undefined && isSame(noted.local, file.facts)) {
        onBytes(file.facts.size)
        hashes.set(file.name, noted.sha256)
        return
      }
      const sha256 = yield* hashOf(file, onBytes)
      hashes.set(file.name, sha256)
      journal?.add({ name: file.name, sha256, local: file.facts })
    }),
    { concurrency: AT_ONCE, discard: true }
  )
  // Written anew, so that what is not asked for any more does not stay.
  if (journal !== undefined) {
    yield* journal.begin({ kind: "hashes" })
    for (const [name, sha256] of hashes) journal.add({ name, sha256, local: of.get(name) })
  }
  return hashes
})
