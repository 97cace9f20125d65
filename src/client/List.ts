/** Listings, page by page. A server cannot make a listing go on for ever without naming anything. */
import { Effect, Option, Schema, Stream } from "effect"
import { FolderPrefix } from "../protocol/FileName.ts"
import type { Api, CallError } from "./Api.ts"
import { ProtocolError } from "./ClientError.ts"
import type { ListEntry, ListOptions } from "./FipClient.ts"

const isFolder = Schema.is(FolderPrefix)

/** Pages in a row that may name nothing: rights that end while they are listed leave such pages behind. */
const MAX_EMPTY_PAGES = 100

interface Cursor {
  readonly after: string | undefined
  /** Pages before this one that named nothing. */
  readonly empty: number
}

/** Folders before files within a page. The next page is asked for while somebody looks at one. */
export const listPages = (api: Api, options: ListOptions = {}): Stream.Stream<ListEntry, CallError> => {
  const { deleted, owner, prefix, recursive, scope } = options
  const start: Cursor = { after: undefined, empty: 0 }
  return Stream.paginate(
    start,
    Effect.fnUntraced(function*({ after, empty }) {
      const { files, folders, next } = yield* api.call("List", {
        owner,
        prefix: prefix?.normalize("NFC"),
        recursive,
        scope,
        deleted,
        after
      })
      if (!folders.every(isFolder)) {
        return yield* new ProtocolError({ message: "the server listed a folder whose name cannot be one" })
      }
      const entries: Array<ListEntry> = [
        ...folders.map((name) => ({ _tag: "Folder" as const, name })),
        ...files.map((file) => ({ _tag: "File" as const, file }))
      ]
      if (next === undefined) return [entries, Option.none<Cursor>()] as const
      if (next === after || empty === MAX_EMPTY_PAGES) {
        return yield* new ProtocolError({ message: "the server's listing does not get on" })
      }
      return [entries, Option.some<Cursor>({ after: next, empty: entries.length === 0 ? empty + 1 : 0 })] as const
    })
  ).pipe(Stream.bufferArray({ capacity: 1 }))
}
