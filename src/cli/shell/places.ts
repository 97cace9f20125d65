/** A place on the server that may be a folder: `docs`, `docs/`, `~alice`, `~alice/docs/`, `/` for everything of one's own. */
import { Option, Result, Schema } from "effect"
import { Argument } from "effect/cli"
import { type FileRef, formatFileRef, parseFileRef } from "../../protocol/FileName.ts"
import { Username } from "../../protocol/Identity.ts"
import { parsedHere } from "./inputs.ts"
import { ValueKind } from "./ValueKind.ts"

export interface Place {
  readonly owner: Username | undefined
  /** The folder of that name: ends in `/`, or is empty for everything. */
  readonly prefix: string
  /** The file of that name; `undefined` when the place can only be a folder. */
  readonly file: FileRef | undefined
}

const asUsername = Schema.decodeUnknownOption(Username)

/** The failure is a sentence. */
export const parsePlace = (text: string): Result.Result<Place, string> => {
  if (text === "/") return Result.succeed({ owner: undefined, prefix: "", file: undefined })
  const [, owner] = /^~([^/]*)\/?$/.exec(text) ?? []
  if (owner !== undefined) {
    return Option.match(asUsername(owner), {
      onNone: () => Result.fail(`"${owner}" is not a user name`),
      onSome: (owner) => Result.succeed({ owner, prefix: "", file: undefined })
    })
  }
  const isFolder = text.endsWith("/")
  return Result.map(parseFileRef(isFolder ? text.slice(0, -1) : text), (file) => ({
    owner: file.owner,
    prefix: `${file.name}/`,
    file: isFolder ? undefined : file
  }))
}

export const placeArgument = (name: string, description: string) =>
  Argument.String(name).pipe(
    Argument.mapEffect((text) => parsedHere(text, parsePlace)),
    Argument.withMetavar(ValueKind.FILE),
    Argument.withDescription(description)
  )

/** A place as one would type it. */
export const formatPlace = (place: Place): string =>
  place.file !== undefined
    ? formatFileRef(place.file)
    : place.owner === undefined
    ? place.prefix === "" ? "/" : place.prefix
    : `~${place.owner}/${place.prefix}`
