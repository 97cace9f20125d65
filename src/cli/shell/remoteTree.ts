/** Files of the server below a folder. */
import { Effect, Stream } from "effect"
import { FipClient } from "../../client/FipClient.ts"
import type { FileInfo } from "../../protocol/Request.ts"
import type { Place } from "./places.ts"

/** All of them, in the order of their names. */
export const filesUnder = Effect.fnUntraced(function*(place: Pick<Place, "owner" | "prefix">) {
  const client = yield* FipClient
  const files: Array<FileInfo> = []
  yield* Stream.runForEach(
    client.list({ owner: place.owner, prefix: place.prefix, recursive: true }),
    (entry) =>
      Effect.sync(() => {
        if (entry._tag === "File") files.push(entry.file)
      })
  )
  return files
})
