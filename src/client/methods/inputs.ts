/** How programs name files and give content, and how that becomes what the protocol takes. */
import { Effect, type Stream } from "effect"
import {
  type FileName,
  type FileRef,
  parseFileName,
  parseFileRef,
  parseShareableRef,
  type ShareableRef
} from "../../protocol/FileName.ts"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import type { TransferError } from "../ClientError.ts"

export type FileInput = string | FileRef

/** A file or a folder: a folder's name ends with `/`, and `/` alone is everything of one's own. */
export type ShareableInput = string | ShareableRef

/** Content to send: bytes, text (as UTF-8), or a stream of any length. */
export type ContentInput = Uint8Array | string | Stream.Stream<Uint8Array, TransferError>

export const refOf = (file: FileInput): Effect.Effect<FileRef, Refusal> =>
  typeof file === "string"
    ? Effect.mapError(Effect.fromResult(parseFileRef(file)), (message) => refuse("2:ibv", message, "name"))
    : Effect.succeed(file)

export const shareableOf = (file: ShareableInput): Effect.Effect<ShareableRef, Refusal> =>
  typeof file === "string"
    ? Effect.mapError(Effect.fromResult(parseShareableRef(file)), (message) => refuse("2:ibv", message, "name"))
    : Effect.succeed(file)

export const nameOf = (name: string): Effect.Effect<FileName, Refusal> =>
  Effect.mapError(Effect.fromResult(parseFileName(name)), (message) => refuse("2:ibv", message, "new_name"))
