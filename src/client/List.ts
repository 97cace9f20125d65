/** Listings, page by page. A server cannot make a listing go on for ever without naming anything. */
import { Effect, Option, Schema, Stream } from "effect"
import { FolderPrefix } from "../protocol/FileName.ts"
import type { Api, CallError } from "./Api.ts"
import { ProtocolError } from "./ClientError.ts"
import type { ListEntry, ListOptions } from "./FipClient.ts"

const isFolder = Schema.is(FolderPrefix)

/** Folders before files within a page. */
export const listPages = (api: Api, options: ListOptions = {}): Stream.Stream<ListEntry, CallError> => {
  const { owner, prefix, recursive, scope } = options
  return Stream.paginate(
    undefined,
    Effect.fnUntraced(function*(after: string | undefined) {
      const { files, folders, next } = yield* api.call("List", {
        owner,
        prefix: prefix?.normalize("NFC"),
        recursive,
        scope,
        after
      })
      if (!folders.every(isFolder)) {
        return yield* new ProtocolError({ message: "the server listed a folder whose name cannot be one" })
      }
      const entries: Array<ListEntry> = [
        ...folders.map((name) => ({ _tag: "Folder" as const, name })),
        ...files.map((file) => ({ _tag: "File" as const, file }))
      ]
      if (next !== undefined && (next === after || entries.length === 0)) {
        return yield* new ProtocolError({ message: "the server's listing does not get on" })
      }
      return [entries, Option.fromUndefinedOr(next)] as const
    })
  )
}
