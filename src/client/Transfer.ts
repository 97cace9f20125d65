/** Sending a file of this machine: constant memory whatever its size, and proven on both ends. */
import { Effect, type Scope } from "effect"
import { createHash } from "node:crypto"
import type { FileRef } from "../protocol/FileName.ts"
import { Sha256 } from "../protocol/Identity.ts"
import { MAX_DATA_BYTES } from "../protocol/Limits.ts"
import type { Written } from "../protocol/Request.ts"
import type { Api } from "./Api.ts"
import type { TransferError } from "./ClientError.ts"
import type { UploadOptions } from "./FipClient.ts"
import type { Journals } from "./Journal.ts"
import type { Link } from "./Link.ts"
import { openSource, partsIn, type Source } from "./LocalFile.ts"
import { sendResumably } from "./ResumableUpload.ts"
import { send } from "./Upload.ts"

export interface UploadServices {
  readonly api: Api
  readonly link: Link
  readonly journals: Journals
  readonly onNotice: (message: string) => void
}

/** The hash of a file, unless it is not what it was any more. */
const hashOf = (source: Source): Effect.Effect<Sha256 | undefined> => {
  const hash = createHash("sha256")
  const blocks = source.blocks(partsIn(0, source.size))
  const rest: Effect.Effect<Sha256, TransferError> = Effect.flatMap(blocks.next, (block) => {
    if (block === undefined) return Effect.sync(() => Sha256.make(hash.digest("hex")))
    hash.update(block)
    blocks.release(block)
    return rest
  })
  return Effect.orElseSucceed(rest, () => undefined)
}

/** Sends a local file; what one message has no room for, so that another run can go on with it. */
export const upload = Effect.fnUntraced(
  function*(
    { api, journals, link, onNotice }: UploadServices,
    localPath: string,
    file: FileRef,
    options: UploadOptions = {}
  ): Effect.fn.Return<Written, TransferError, Scope.Scope> {
    const { connections, expectedVersion, hash = false, mode = "write", onProgress = () => {}, position } = options
    const source = yield* openSource(localPath)
    // What is put into another file says nothing of the whole.
    const attributes = mode === "append" || mode === "patch" ? undefined : source.attributes
    const target = { file, mode, expectedVersion, position, attributes }
    if (source.size <= MAX_DATA_BYTES) {
      const { sha256, written } = yield* send(api, target, source.blocks(partsIn(0, source.size)), onProgress)
      return { ...written, sha256 }
    }
    const written = yield* sendResumably({
      api,
      link,
      journals,
      target,
      connections,
      localPath,
      source,
      onProgress,
      onNotice
    })
    if (!hash || written.sha256 !== undefined) return written
    const sha256 = yield* hashOf(source)
    return sha256 === undefined ? written : { ...written, sha256 }
  },
  Effect.scoped
)
