/** Files and their content, without the disk of this machine. */
import { Cause, Effect, Predicate, Stream } from "effect"
import type { Attributes, ReadHead, UploadMode, Written } from "../../protocol/Request.ts"
import { ofBytes, ofStream } from "../Blocks.ts"
import { IntegrityError, type RequestError, type TransferError } from "../ClientError.ts"
import { openReading, type Reading } from "../Reading.ts"
import { send, type Target } from "../Upload.ts"
import { type ContentInput, type FileInput, nameOf, refOf } from "./inputs.ts"
import type { ClientParts } from "./parts.ts"

export interface WriteOptions {
  /** Refused with `2:vcf` unless the file has this version. */
  readonly expectedVersion?: number | undefined
}

export interface ContentOptions extends WriteOptions {
  /** What is kept beside the content: when it was last changed where it comes from, and whether it is executable. */
  readonly attributes?: Attributes | undefined
}

export interface ReadOptions {
  readonly position?: number | undefined
  /** At most so many bytes; the whole rest unless given. */
  readonly limit?: number | undefined
  readonly version?: number | undefined
}

export interface FileMethods {
  readonly create: (
    file: FileInput,
    content?: ContentInput,
    options?: Pick<ContentOptions, "attributes">
  ) => Effect.Effect<Written, TransferError>
  /** Makes the file or replaces its content. */
  readonly write: (
    file: FileInput,
    content: ContentInput,
    options?: ContentOptions
  ) => Effect.Effect<Written, TransferError>
  /** Replaces the content of a file that exists. */
  readonly replace: (
    file: FileInput,
    content: ContentInput,
    options?: ContentOptions
  ) => Effect.Effect<Written, TransferError>
  readonly append: (
    file: FileInput,
    content: ContentInput,
    options?: WriteOptions
  ) => Effect.Effect<Written, TransferError>
  /** Overwrites bytes from `position` (at most the file's size), and makes the file longer where they reach past its end. */
  readonly patch: (
    file: FileInput,
    position: number,
    content: ContentInput,
    options?: WriteOptions
  ) => Effect.Effect<Written, TransferError>
  /** What is read, and the bytes. Nothing is requested before the effect runs; the stream can be run once. */
  readonly open: (
    file: FileInput,
    options?: ReadOptions
  ) => Effect.Effect<
    { readonly head: ReadHead; readonly content: Stream.Stream<Uint8Array, TransferError> },
    TransferError
  >
  /** The bytes of a file, or of a part of it. A whole file is checked against its hash. */
  readonly read: (file: FileInput, options?: ReadOptions) => Stream.Stream<Uint8Array, TransferError>
  readonly rename: (file: FileInput, newName: string, options?: WriteOptions) => Effect.Effect<Written, RequestError>
  /** The copy is the caller's own, under a name that is free; the expected version is that of what is copied. */
  readonly copy: (file: FileInput, newName: string, options?: WriteOptions) => Effect.Effect<Written, RequestError>
  /** Makes an earlier version the newest one; without a version, brings back the file that was deleted last. */
  readonly restore: (
    file: FileInput,
    version?: number,
    options?: WriteOptions
  ) => Effect.Effect<Written, RequestError>
}

const encoder = new TextEncoder()

/** The bytes of a reading, once. */
const contentOf = (reading: Reading): Stream.Stream<Uint8Array, Effect.Error<Reading["next"]>> => {
  let begun = false
  const next = Effect.filterOrElse(reading.next, Predicate.isNotUndefined, () => Cause.done())
  return Stream.fromPull(Effect.suspend(() => {
    if (begun) return Effect.fail(new IntegrityError({ message: "this content was read before: open the file again" }))
    begun = true
    return Effect.succeed(next)
  })).pipe(Stream.ensuring(Effect.sync(() => reading.close())))
}

export const fileMethods = ({ api, link }: ClientParts): FileMethods => {
  const { call } = api

  const sendContent = Effect.fnUntraced(function*(target: Target, content: ContentInput) {
    const blocks = Stream.isStream(content)
      ? yield* ofStream(content)
      : ofBytes(typeof content === "string" ? encoder.encode(content) : content)
    return (yield* send(api, target, blocks)).written
  }, Effect.scoped)

  const writing = (mode: UploadMode) => (file: FileInput, content: ContentInput, options: ContentOptions = {}) =>
    Effect.flatMap(
      refOf(file),
      (file) =>
        sendContent({ file, mode, expectedVersion: options.expectedVersion, attributes: options.attributes }, content)
    )

  return {
    create: (file, content = "", options) => writing("create")(file, content, options),
    write: writing("write"),
    replace: writing("replace"),
    append: writing("append"),
    patch: (file, position, content, options = {}) =>
      Effect.flatMap(
        refOf(file),
        (file) => sendContent({ file, mode: "patch", position, expectedVersion: options.expectedVersion }, content)
      ),
    open: (file, options) =>
      Effect.map(
        Effect.flatMap(refOf(file), (file) => openReading(api, link, file, options)),
        (reading) => ({ head: reading.head, content: contentOf(reading) })
      ),
    read: (file, options) =>
      Stream.unwrap(Effect.map(
        Effect.acquireRelease(
          Effect.flatMap(refOf(file), (file) => openReading(api, link, file, options)),
          (reading) => Effect.sync(() => reading.close()),
          { interruptible: true }
        ),
        contentOf
      )),
    rename: (file, newName, options = {}) =>
      Effect.flatMap(
        Effect.all([refOf(file), nameOf(newName)]),
        ([file, new_name]) => call("Rename", { ...file, new_name, expected_version: options.expectedVersion })
      ),
    copy: (file, newName, options = {}) =>
      Effect.flatMap(
        Effect.all([refOf(file), nameOf(newName)]),
        ([file, new_name]) => call("Copy", { ...file, new_name, expected_version: options.expectedVersion })
      ),
    restore: (file, version, options = {}) =>
      Effect.flatMap(
        refOf(file),
        (file) => call("Restore", { ...file, version, expected_version: options.expectedVersion })
      )
  }
}
