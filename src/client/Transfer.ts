/** Between files of this machine and the server: constant memory whatever the size, and proven by hash on both ends. */
import { Effect, type Scope } from "effect"
import type { FileRef } from "../protocol/FileName.ts"
import type { Api } from "./Api.ts"
import { bytesOf } from "./Chunks.ts"
import { ProtocolError, type TransferError } from "./ClientError.ts"
import type { DownloadOptions, Transferred, UploadOptions } from "./FipClient.ts"
import type { Link } from "./Link.ts"
import { openSink, openSource, targetOf } from "./LocalFile.ts"
import { openReading } from "./Reading.ts"
import { send } from "./Upload.ts"

/** Sends a local file. */
export const upload = Effect.fnUntraced(
  function*(api: Api, localPath: string, file: FileRef, options: UploadOptions = {}) {
    const { expectedVersion, mode = "write", onProgress, position } = options
    const source = yield* openSource(localPath)
    const { sha256, written } = yield* send(api, { file, mode, expectedVersion, position }, source, onProgress)
    return { ...written, sha256 }
  },
  Effect.scoped
)

/** Fetches a file. What was at its place stays until the new content is whole, checked and on disk. */
export const download = Effect.fnUntraced(
  function*(
    api: Api,
    link: Link,
    file: FileRef,
    localPath: string,
    { onProgress = () => {}, version }: DownloadOptions = {}
  ): Effect.fn.Return<Transferred, TransferError, Scope.Scope> {
    const target = yield* targetOf(localPath, file.name)
    const sink = yield* openSink(target)
    const reading = yield* Effect.acquireRelease(
      openReading(api, link, file, { version }),
      (reading) => Effect.sync(() => reading.close()),
      { interruptible: true }
    )
    const { head } = reading
    let bytes = 0
    for (;;) {
      const chunks = yield* reading.next
      if (chunks === undefined) break
      yield* sink.write(chunks)
      bytes += bytesOf(chunks)
      onProgress({ bytes, total: head.size })
    }
    const { sha256 } = reading
    if (sha256 === undefined) return yield* new ProtocolError({ message: "the server sent a part of the file only" })
    yield* sink.publish
    return { owner: head.owner, name: head.name, size: head.size, version: head.version, sha256 }
  },
  Effect.scoped
)
