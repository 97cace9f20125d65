/** Questions: what there is, who may do what with it, what happened, and what happens. */
import { Effect, Stream } from "effect"
import type { FileRef } from "../../protocol/FileName.ts"
import type { Username } from "../../protocol/Identity.ts"
import type { ChangeInfo, FileInfo, ResultOf } from "../../protocol/Request.ts"
import { ProtocolError, type RequestError } from "../ClientError.ts"
import { listPages } from "../List.ts"
import { openLane } from "../ReadReply.ts"
import { watch } from "../Watch.ts"
import { type FileInput, refOf } from "./inputs.ts"
import type { ClientParts } from "./parts.ts"

export interface ListOptions {
  readonly owner?: Username | undefined
  /** Names under this folder (`docs/`). */
  readonly prefix?: string | undefined
  readonly recursive?: boolean | undefined
  readonly scope?: "own" | "shared" | "public" | undefined
  /** One's own deleted files, those that can still be restored, instead of the others. */
  readonly deleted?: boolean | undefined
}

/** One line of a listing. */
export type ListEntry =
  | { readonly _tag: "Folder"; readonly name: string }
  | { readonly _tag: "File"; readonly file: FileInfo }

export interface ActivityOptions {
  readonly file?: FileInput | undefined
  /** At most so many; 100 unless given. */
  readonly limit?: number | undefined
  /** `next` of the page before. */
  readonly before?: number | undefined
}

export interface WatchOptions {
  /** Whose files; without it, one's own. */
  readonly owner?: string | undefined
  /** Only what is below this folder (`docs/`), or the file of this name; with neither, everything. */
  readonly prefix?: string | undefined
  readonly name?: string | undefined
  /** The last `sequence` that is known; without it, only what happens from now on. */
  readonly since?: number | undefined
  /** Told once, when nothing that happens from then on is missed: the number that the watch begins after. */
  readonly onReady?: ((since: number) => void) | undefined
}

export interface QueryMethods {
  /** Folders and files, page by page. */
  readonly list: (options?: ListOptions) => Stream.Stream<ListEntry, RequestError>
  readonly queryFile: (
    file: FileInput,
    options?: {
      /** With how often it was read. */
      readonly verbose?: boolean | undefined
      /** With its `sha256` in any case: the server reads the whole file where nobody knows it yet. */
      readonly hash?: boolean | undefined
    }
  ) => Effect.Effect<ResultOf<"QueryFile">, RequestError>
  /** What was done, the newest first: to one file of one's own, or by oneself and to all of one's files. */
  readonly queryActivity: (
    options?: ActivityOptions
  ) => Effect.Effect<ResultOf<"QueryActivity">, RequestError>

  /**
   * Changes of files as they are committed: of one's own, and what one was granted; or of somebody else's, as far as one
   * may read them. Goes on by itself when the connection or the server was gone meanwhile. `sequence` of the last one
   * that was seen is where another watch can go on: none is lost, none comes twice. `2:gone` when that is too long ago.
   */
  readonly watch: (options?: WatchOptions) => Stream.Stream<ChangeInfo, RequestError>
}

export const queryMethods = ({ api, link }: ClientParts): QueryMethods => {
  const { call } = api

  /** Asks for the hash of a version. A server that does not know how to leave the content away sends it: it is dropped. */
  const hashOf = Effect.fnUntraced(
    function*(file: FileRef, { version }: FileInfo) {
      const { head, next } = yield* Effect.acquireRelease(
        api.authorised("Read", { ...file, version, content: false }, (request) => openLane(link, request)),
        (lane) => Effect.sync(lane.close),
        { interruptible: true }
      )
      let { sha256 } = head
      for (let part = yield* next; part !== undefined; part = yield* next) sha256 ??= part.sha256
      return sha256 ?? (yield* new ProtocolError({ message: "the server's answer to Read has no hash" }))
    },
    Effect.scoped,
    Effect.catchTag("Unanswered", ({ loss }) => Effect.fail(loss))
  )

  return {
    list: (options) => listPages(api, options),
    watch: (options) => watch(api, options),
    queryFile: Effect.fnUntraced(function*(file, options = {}) {
      const ref = yield* refOf(file)
      const info = yield* call("QueryFile", { ...ref, verbose: options.verbose })
      return options.hash !== true || info.sha256 !== undefined ? info : { ...info, sha256: yield* hashOf(ref, info) }
    }),
    queryActivity: ({ before, file, limit } = {}) =>
      file === undefined
        ? call("QueryActivity", { before, limit })
        : Effect.flatMap(refOf(file), (file) => call("QueryActivity", { ...file, before, limit }))
  }
}
