/** Deletes files of the server that have been looked at, several at once, each only while it has the version that was seen. */
import { Effect } from "effect"
import { FipClient } from "../../client/FipClient.ts"
import { formatFileRef } from "../../protocol/FileName.ts"
import type { FileInfo } from "../../protocol/Request.ts"
import { TransferFailed } from "./Failure.ts"

/** Deletions at once. */
const AT_ONCE = 16

export const deleteAll = Effect.fnUntraced(function*(
  files: ReadonlyArray<FileInfo>,
  onDeleted: (file: FileInfo) => void = () => {}
) {
  const client = yield* FipClient
  let done = 0
  yield* Effect.forEach(
    files,
    (file) =>
      client.delete({ owner: file.owner, name: file.name }, { expectedVersion: file.version }).pipe(
        // Somebody was faster.
        Effect.catchIf((error) => error._tag === "Refusal" && error.code === "2:nf", () => Effect.void),
        Effect.tap(() =>
          Effect.sync(() => {
            done++
            onDeleted(file)
          })
        ),
        Effect.mapError((cause) =>
          new TransferFailed({
            file: formatFileRef({ owner: file.owner, name: file.name }),
            moved: done > 0,
            goesOn: true,
            cause
          })
        )
      ),
    { concurrency: AT_ONCE, discard: true }
  )
})
