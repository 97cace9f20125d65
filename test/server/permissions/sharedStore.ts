/** A file store with sharing on top, and the words that tests of the two together are written in. */
import { Effect, Layer } from "effect"
import { FolderPrefix, isFolder, type Shareable } from "../../../src/protocol/FileName.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import { Coherence } from "../../../src/server/caches/Coherence.ts"
import { FileLookup } from "../../../src/server/caches/FileLookup.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { FileRepo } from "../../../src/server/files/FileRepo.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { Permissions } from "../../../src/server/Permissions.ts"
import * as Storage from "../files/Storage.ts"

export const layer = Layer.unwrap(
  Effect.map(
    Storage.folder,
    (dataDir) =>
      Layer.mergeAll(Permissions.layer, FileRepo.layer, FileLookup.layer, Coherence.layer).pipe(
        Layer.provideMerge(Storage.layerIn(dataDir)),
        Layer.provide(Storage.config(dataDir))
      )
  )
)

export const folder = (name: string): FolderPrefix => FolderPrefix.make(name)

/** The code of a refusal, or `done`. */
export const codeOf = <R>(attempt: Effect.Effect<unknown, Refusal, R>): Effect.Effect<string, never, R> =>
  Effect.match(attempt, { onFailure: ({ code }) => code, onSuccess: () => "done" })

/** Everything that needs a role on a file, from the least on; what changes something is undone by what follows. */
export const abilities = Effect.fnUntraced(function*(caller: Caller, owner: Caller, name: Shareable) {
  const files = yield* FileStore
  const permissions = yield* Permissions
  const target = { owner: owner.username, name }
  const may: Array<string> = []
  if (!isFolder(name)) {
    const file = { owner: owner.username, name }
    if ((yield* codeOf(files.queryFile(caller, file))) === "done") may.push("read")
    if ((yield* codeOf(files.append(caller, file, []))) === "done") may.push("edit")
  }
  if ((yield* codeOf(permissions.queryPermission(caller, target))) === "done") may.push("manage")
  if ((yield* codeOf(permissions.hide(caller, target))) === "done") may.push("own")
  return may.join(" ")
})
