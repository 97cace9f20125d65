/** The arguments and flags that several commands share, checked where they are parsed. */
import { Effect, Option, Redacted, Result, Schema } from "effect"
import { Argument, CliError, Flag } from "effect/cli"
import {
  type FileName,
  parseFileName,
  parseFileRef,
  parseShareableRef,
  type ShareableRef
} from "../../protocol/FileName.ts"
import { Username } from "../../protocol/Identity.ts"
import { MAX_LOCK_MS } from "../../protocol/Limits.ts"
import type { GrantRole } from "../../protocol/Permission.ts"
import { UsageError } from "./Failure.ts"
import { ValueKind } from "./ValueKind.ts"
import { inFolder, type RemoteFolder, TOP, Workspace } from "./Workspace.ts"

const invalid = (value: string, sentence: string) =>
  new CliError.ValidationError({ message: `"${value}": ${sentence}` })

/** Parses a name in the folder that the shell is in. */
export const parsedHere = <A>(text: string, parse: (text: string) => Result.Result<A, string>) =>
  Effect.flatMap(Workspace, ({ folder }) =>
    Effect.mapError(
      Effect.fromResult(Result.flatMap(inFolder(folder, text), parse)),
      (fault) => invalid(text, fault)
    ))

/** A file on the server: `notes.txt`, `docs/notes.txt`, `~alice/notes.txt`. */
const fileArgument = Argument.String("file").pipe(
  Argument.mapEffect((text) => parsedHere(text, parseFileRef)),
  Argument.withMetavar(ValueKind.FILE),
  Argument.withDescription("file on the server: notes.txt, docs/notes.txt, or ~alice/notes.txt for Alice's")
)

const asUsername = Schema.decodeUnknownOption(Username)

const ownerArgument = Argument.String("owner").pipe(
  Argument.filterMap(asUsername, () => "a user name: whose file it is"),
  Argument.withMetavar(ValueKind.USER),
  Argument.withDescription("whose file it is, instead of ~owner/ before its name"),
  Argument.optional
)

/** A name, in the folder that the shell is in and, for one whose owner is named apart, from the top. */
export interface Named<Ref> {
  /** As it was typed. */
  readonly text: string
  readonly here: Ref
  readonly fromTop: Ref
}

const named = <Ref extends ShareableRef>(parse: (text: string) => Result.Result<Ref, string>) => (text: string) =>
  Effect.map(parsedHere(text, parse), (here): Named<Ref> => ({
    text,
    here,
    fromTop: Result.getOrElse(Result.flatMap(inFolder(TOP, text), parse), () => here)
  }))

const fileOfOwner = Argument.String("file").pipe(
  Argument.mapEffect(named(parseFileRef)),
  Argument.withMetavar(ValueKind.FILE),
  Argument.withDescription("file on the server: notes.txt, docs/notes.txt, or ~alice/notes.txt for Alice's")
)

/** A file, and its owner in either of the two ways to name one. */
export const target = { file: fileOfOwner, owner: ownerArgument }

export const targetOf = <Ref extends ShareableRef>(input: {
  readonly file: Named<Ref>
  readonly owner: Option.Option<Username>
}): Effect.Effect<Ref, UsageError> => {
  if (Option.isNone(input.owner)) return Effect.succeed(input.file.here)
  const { fromTop } = input.file
  return fromTop.owner === undefined
    ? Effect.succeed({ ...fromTop, owner: input.owner.value })
    : Effect.fail(
      new UsageError({ message: `name the owner once: ~${fromTop.owner}/ or "${input.owner.value}", not both` })
    )
}

/** A file whose owner can only be given as `~owner/`. */
export const file = fileArgument

const SHAREABLE = "file on the server, or a folder with all that is under it: docs/; / is everything of yours"

/** A file, or a folder with all that is under it: its name ends with `/`. */
export const shareable = Argument.String("file").pipe(
  Argument.mapEffect((text) => parsedHere(text, parseShareableRef)),
  Argument.withMetavar(ValueKind.FILE),
  Argument.withDescription(SHAREABLE)
)

/** The same, and its owner in either of the two ways to name one. */
export const shareableTarget = {
  file: Argument.String("file").pipe(
    Argument.mapEffect(named(parseShareableRef)),
    Argument.withMetavar(ValueKind.FILE),
    Argument.withDescription(SHAREABLE)
  ),
  owner: ownerArgument
}

/** A name for a file whose owner is settled already: in the shell's folder, and from the top. */
export const newName = (name: string, whose: string) =>
  Argument.String(name).pipe(
    Argument.mapEffect((text) =>
      Effect.gen(function*() {
        const { folder } = yield* Workspace
        const plain = Result.getOrElse(inFolder(TOP, text), () => text)
        if (plain.startsWith("~")) return yield* invalid(text, `${whose}: write the name without ~user/`)
        const parsed = (folder: RemoteFolder) =>
          Effect.mapError(
            Effect.fromResult(Result.flatMap(inFolder(folder, text), parseFileName)),
            (fault) => invalid(text, fault)
          )
        const here = yield* parsed({ ...folder, owner: undefined })
        return { here, fromTop: yield* Effect.orElseSucceed(parsed(TOP), () => here), folder }
      })
    ),
    Argument.withMetavar(ValueKind.FILE),
    Argument.withDescription(whose)
  )

/** The new name of a file of `owner`: the shell's folder counts where it is the same owner's. */
export const newNameOf = (
  name: { readonly here: FileName; readonly fromTop: FileName; readonly folder: RemoteFolder },
  owner: Username | undefined
): FileName => name.folder.owner?.toLowerCase() === owner?.toLowerCase() ? name.here : name.fromTop

/** Content that is typed on the line. */
export const data = Argument.String("data").pipe(
  Argument.withDescription("the text to store, in quotes if it has blanks; after -- it may begin with a dash")
)

export const localPath = (description: string) =>
  Argument.String("local").pipe(
    Argument.filter((path) => path !== "", () => "a path on this machine"),
    Argument.withMetavar(ValueKind.LOCAL),
    Argument.withDescription(description)
  )

export const user = (description: string) =>
  Argument.String("user").pipe(Argument.withMetavar(ValueKind.USER), Argument.withDescription(description))

/** A password as an argument; commands ask for it when it is missing. */
export const password = (name: string) =>
  Argument.String(name).pipe(
    Argument.map((text) => Redacted.make(text)),
    Argument.withDescription("asked for without echo when it is missing"),
    Argument.optional
  )

const wholeNumber = (minimum: number) => (text: string): Option.Option<number> => {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(value) && value >= minimum ? Option.some(value) : Option.none()
}

export const count = (name: string, minimum: number, description: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar("n"),
    Flag.filterMap(wholeNumber(minimum), () => `a whole number, ${minimum} or more`),
    Flag.withDescription(description)
  )

export const position = count("position", 0, "where it begins, in bytes from the start of the file")
export const limit = count("limit", 0, "at most so many bytes").pipe(Flag.optional)
export const version = count("version", 1, "a version of the file (QUERY versions lists them)")
export const ifVersion = count("if-version", 1, "only if this is still the file's version (else refused with 2:vcf)")
  .pipe(
    Flag.optional
  )

/** Of transfers of one file. */
export const connections = count("connections", 1, "how many connections to use for a large file, at most 16").pipe(
  Flag.optional
)

export const flag = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

export const dryRun = flag("dry-run", "only show what would be done")

export const recursive = (description: string) =>
  Flag.Boolean("recursive").pipe(
    Flag.withAlias("r"),
    Flag.withDescription(description),
    Flag.withDefault(false)
  )

/** Of queries: all that there is to know. */
export const verbose = (description: string) =>
  Flag.Boolean("verbose").pipe(Flag.withAlias("v"), Flag.withDescription(description), Flag.withDefault(false))

const ROLES = new Map<string, GrantRole>([
  ["read", "READ"],
  ["reader", "READ"],
  ["edit", "EDIT"],
  ["editor", "EDIT"],
  ["manage", "MANAGE"],
  ["manager", "MANAGE"]
])

export const role = Argument.String("role").pipe(
  Argument.filterMap(
    (text) => Option.fromUndefinedOr(ROLES.get(text.toLowerCase())),
    () => "READ, EDIT or MANAGE (or reader, editor, manager)"
  ),
  Argument.withMetavar("READ|EDIT|MANAGE"),
  Argument.withDescription("READ, EDIT or MANAGE, in any case; reader, editor and manager mean the same")
)

const UNIT_MS: Readonly<Record<string, number>> = {
  "": 1000,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000
}

/** `30s`, `15m`, `2h`, `7d`, `2w`, a bare number of seconds, or `permanent` (`undefined`). */
export const parseDuration = (text: string): Result.Result<number | undefined, void> => {
  if (text.toLowerCase() === "permanent") return Result.succeed(undefined)
  const [, digits = "", unit = ""] = /^(\d{1,10})([smhdw]?)$/i.exec(text) ?? []
  const ms = Number(digits) * (UNIT_MS[unit.toLowerCase()] ?? Number.NaN)
  return digits !== "" && Number.isSafeInteger(ms) && ms > 0 ? Result.succeed(ms) : Result.failVoid
}

/** The same, of a lock. */
export const lockDuration = Flag.String("for").pipe(
  Flag.withMetavar("time"),
  Flag.filterMap(
    (text) => Option.filter(Result.getSuccess(parseDuration(text)), (ms) => ms !== undefined && ms <= MAX_LOCK_MS),
    () => "a time such as 30s, 15m or 2h, 7d at most"
  ),
  Flag.withDescription("for how long: 30s, 15m, 2h, 7d at most; 10m unless given"),
  Flag.withDefault<number | undefined>(undefined)
)

export const duration = Flag.String("duration").pipe(
  Flag.withMetavar("time"),
  Flag.filterMap(
    (text) => Result.getSuccess(parseDuration(text)),
    () => "a time such as 30s, 15m, 2h, 7d, 2w, or permanent"
  ),
  Flag.withDescription("for how long: 30s, 15m, 2h, 7d, 2w, or permanent (the default)"),
  Flag.withDefault<number | undefined>(undefined)
)
