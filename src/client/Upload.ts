/**
 * Sending content: in the request itself when it is small, in parts when it is not.
 *
 * Parts are on their way at the same time, each with its offset and by one of the transfer's connections (Ways.ts);
 * what they carry is hashed in order as it leaves, and the commit proves it. An upload that fails or is interrupted is aborted, unless the server cannot
 * be reached: it then forgets the upload by itself.
 */
import { Cause, Effect, Exit, Stream } from "effect"
import { createHash } from "node:crypto"
import type { FileRef } from "../protocol/FileName.ts"
import { Sha256, type UploadId } from "../protocol/Identity.ts"
import { MAX_DATA_BYTES } from "../protocol/Limits.ts"
import type { Attributes, UploadMode, Written } from "../protocol/Request.ts"
import type { Api } from "./Api.ts"
import type { Blocks } from "./Blocks.ts"
import { IntegrityError, ProtocolError, type TransferError } from "./ClientError.ts"
import type { Connection } from "./Connection.ts"
import type { OnProgress } from "./FipClient.ts"
import { windowFor } from "./Ways.ts"

const ABORT_TIMEOUT = "2 seconds"

export interface Target {
  readonly file: FileRef
  readonly mode: UploadMode
  readonly expectedVersion?: number | undefined
  /** With `patch`. */
  readonly position?: number | undefined
  /** With `create`, `write` and `replace`. */
  readonly attributes?: Attributes | undefined
}

export interface Sent {
  readonly written: Written
  /** Of the content that was sent. */
  readonly sha256: Sha256
}

const NOTHING = new Uint8Array(0)

const sendInline = (api: Api, target: Target, data: Uint8Array, sha256: string) => {
  const { attributes, expectedVersion: expected_version, file: { name, owner }, mode, position = 0 } = target
  const input = { owner, name, expected_version, sha256 }
  switch (mode) {
    case "create":
      return api.call("Create", { owner, name, sha256, attributes }, { data })
    case "write":
      return api.call("Write", { ...input, attributes }, { data })
    case "replace":
      return api.call("Replace", { ...input, attributes }, { data })
    case "append":
      return api.call("Append", input, { data })
    case "patch":
      return api.call("Patch", { ...input, position }, { data })
  }
}

/** Tells the server that an upload will not be finished, where it can be told. */
export const abort = (api: Api, upload_id: UploadId, exit: Exit.Exit<unknown, TransferError>): Effect.Effect<void> => {
  if (Exit.isSuccess(exit)) return Effect.void
  const lost = exit.cause.reasons.some((reason) =>
    Cause.isFailReason(reason) && ["ConnectError", "ConnectionLost", "TrustError"].includes(reason.error._tag)
  )
  return lost ? Effect.void : api.call("UploadAbort", { upload_id }).pipe(
    Effect.interruptible,
    Effect.timeoutOption(ABORT_TIMEOUT),
    Effect.ignore
  )
}

export interface Part {
  readonly block: Uint8Array
  readonly offset: number
}

/** Sends one part and waits until the server has it. */
export const sendPart = Effect.fnUntraced(function*(
  api: Api,
  upload_id: UploadId,
  { block, offset }: Part,
  by?: Connection
) {
  const answer = yield* api.call("UploadPart", { upload_id, offset }, { data: block, by })
  if (answer.offset !== offset || answer.length !== block.length) {
    return yield* new ProtocolError({ message: "the server acknowledged another part than the one it was sent" })
  }
})

const sendInParts = Effect.fnUntraced(function*(
  api: Api,
  target: Target,
  blocks: Blocks,
  begun: ReadonlyArray<Uint8Array>,
  onProgress: OnProgress
): Effect.fn.Return<Sent, TransferError> {
  const { file, mode, position } = target
  const { upload_id } = yield* api.call("UploadBegin", {
    owner: file.owner,
    name: file.name,
    expected_version: target.expectedVersion,
    attributes: target.attributes,
    mode,
    position: mode === "patch" ? position ?? 0 : undefined,
    size: blocks.size
  })
  const hash = createHash("sha256")
  let offset = 0
  let acknowledged = 0

  const nextPart = (index: number) =>
    Effect.map(begun[index] === undefined ? blocks.next : Effect.succeed(begun[index]), (block) => {
      if (block === undefined) return undefined
      const part = { block, offset }
      offset += block.length
      // Hashed before it is handed on: the parts after it are read and sent meanwhile.
      hash.update(block)
      return [part, index + 1] as const
    })

  const sendOne = Effect.fnUntraced(function*({ block, offset }: Part) {
    yield* sendPart(api, upload_id, { block, offset })
    acknowledged += block.length
    blocks.release(block)
    onProgress({ bytes: acknowledged, total: blocks.size })
  })

  return yield* Stream.unfold(0, nextPart).pipe(
    Stream.mapEffect(sendOne, { concurrency: windowFor(api.roundTripMillis()), unordered: true }),
    Stream.runDrain,
    Effect.flatMap(() => {
      const sha256 = Sha256.make(hash.digest("hex"))
      return Effect.map(api.call("UploadCommit", { upload_id, sha256 }), (written) => ({ written, sha256 }))
    }),
    Effect.onExit((exit) => abort(api, upload_id, exit))
  )
})

/** Sends content. Where the answer tells the hash of the whole file, and the content is the whole file, they are equal. */
export const send = Effect.fnUntraced(function*(
  api: Api,
  target: Target,
  blocks: Blocks,
  onProgress: OnProgress = () => {}
): Effect.fn.Return<Sent, TransferError> {
  const first = (yield* blocks.next) ?? NOTHING
  const second = first.length < MAX_DATA_BYTES ? undefined : yield* blocks.next
  let sent: Sent
  if (second === undefined) {
    const sha256 = Sha256.make(createHash("sha256").update(first).digest("hex"))
    sent = { written: yield* sendInline(api, target, first, sha256), sha256 }
    onProgress({ bytes: first.length, total: first.length })
  } else {
    sent = yield* sendInParts(api, target, blocks, [first, second], onProgress)
  }
  const { sha256, written } = sent
  const whole = target.mode !== "append" && target.mode !== "patch"
  if (whole && written.sha256 !== undefined && written.sha256 !== sha256) {
    return yield* new IntegrityError({ message: `${written.name} did not arrive as it was sent. Send it again` })
  }
  return sent
})
