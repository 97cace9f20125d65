/**
 * The settings of whoever uses the client, `$XDG_CONFIG_HOME/fip/config.toml`: servers under names of one's own.
 *
 *     default = "work"
 *     [profile.work]
 *     host = "files.example.org"
 *     username = "alice_smith"
 *
 *     [alias]
 *     ll = "LIST --long"
 *
 * The file is a person's: what `fip profile` changes is added to their text or cut out of it, and a change that would
 * alter anything else in it is not made.
 */
import { Effect, Schema, SchemaIssue } from "effect"
import { realpath, stat } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { parse, stringify, type TomlTable } from "smol-toml"
import { writeAtomically } from "../platform/AtomicFile.ts"
import { acquire } from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { didYouMean } from "../platform/nearest.ts"
import { systemErrorCode, systemErrorReason } from "../platform/systemError.ts"
import { faultAt, parseTomlFile, readTomlFile, TomlFault, type TomlFile } from "../platform/TomlFile.ts"
import { Username } from "../protocol/Identity.ts"
import { LocalFileError } from "./ClientError.ts"
import { defaultPath as knownHostsPath } from "./KnownHosts.ts"

/** `$XDG_CONFIG_HOME/fip/config.toml`. */
export const configPath = (): string => join(dirname(knownHostsPath()), "config.toml")

/** No colon, slash or `@`, which part a server from a file and a user. */
export const ProfileName = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, {
    message: "a profile's name is at most 64 letters, digits, dots, dashes and underscores"
  })
)

const Text = Schema.String.check(Schema.isNonEmpty({ message: "this is empty" }))

export const Profile = Schema.Struct({
  host: Text,
  port: Schema.optionalKey(
    Schema.Number.check(
      Schema.isInt({ message: "a port is a whole number from 1 to 65535" }),
      Schema.isBetween({ minimum: 1, maximum: 65_535 }, { message: "a port is a whole number from 1 to 65535" })
    )
  ),
  username: Schema.optionalKey(Username),
  known_hosts: Schema.optionalKey(Text),
  /** Prints the password: a line for the shell, or a program and its arguments. */
  password_command: Schema.optionalKey(Schema.Union([Text, Schema.NonEmptyArray(Schema.String)]))
})
export type Profile = typeof Profile.Type

const Config = Schema.Struct({
  default: Schema.optionalKey(Schema.String),
  profile: Schema.optionalKey(Schema.Record(ProfileName, Profile)),
  /** What the shell knows by shorter names (ALIAS). */
  alias: Schema.optionalKey(Schema.Record(Schema.String, Text))
})

export interface ClientConfig {
  readonly path: string
  readonly defaultProfile: string | undefined
  readonly profiles: ReadonlyMap<string, Profile>
  readonly aliases: ReadonlyMap<string, string>
}

const decode = Schema.decodeUnknownResult(Config)
const describe = SchemaIssue.makeFormatterStandardSchemaV1()

/** A key that means nothing, with what may have been meant. */
const unknownKey = (file: TomlFile): TomlFault | undefined => {
  const check = (table: object, at: ReadonlyArray<string>, known: object) => {
    const key = Object.keys(table).find((key) => !Object.hasOwn(known, key))
    return key === undefined
      ? undefined
      : faultAt(file, [...at, key], `there is no setting "${key}"${didYouMean(key, Object.keys(known))}`)
  }
  const wrong = check(file.table, [], Config.fields)
  const { profile } = file.table
  if (wrong !== undefined || typeof profile !== "object" || profile instanceof Date) return wrong
  for (const [name, table] of Object.entries(profile)) {
    if (typeof table !== "object" || table instanceof Date) continue
    const wrong = check(table, ["profile", name], Profile.fields)
    if (wrong !== undefined) return wrong
  }
  return undefined
}

const configOf = Effect.fnUntraced(function*(file: TomlFile): Effect.fn.Return<ClientConfig, TomlFault> {
  const wrong = unknownKey(file)
  if (wrong !== undefined) return yield* wrong
  const decoded = decode(file.table)
  if (decoded._tag === "Failure") {
    const issue = describe(decoded.failure.issue).issues[0]
    const keys = issue?.path?.map(String) ?? []
    // A key that is missing stands nowhere: its table does.
    const { message } = issue ?? { message: "this is not as it should be" }
    return yield* message === "Missing key"
      ? faultAt(file, keys.slice(0, -1), `${keys.join(".")} is missing`)
      : faultAt(file, keys, `${keys.join(".")}: ${message.replace(/^Expected/, "expected")}`)
  }
  const { alias = {}, default: defaultProfile, profile = {} } = decoded.success
  const profiles = new Map(Object.entries(profile))
  if (defaultProfile !== undefined && !profiles.has(defaultProfile)) {
    return yield* faultAt(
      file,
      ["default"],
      `there is no profile "${defaultProfile}"${didYouMean(defaultProfile, profiles.keys())}`
    )
  }
  return { path: file.path, defaultProfile, profiles, aliases: new Map(Object.entries(alias)) }
})

const empty = (path: string): TomlFile => ({ path, text: "", table: {} })

const readFile = Effect.map(
  Effect.suspend(() => readTomlFile(configPath())),
  (file) => file ?? empty(configPath())
)

/** The settings; without a file, there are none. */
export const clientConfig: Effect.Effect<ClientConfig, TomlFault> = Effect.flatMap(readFile, configOf)

/** Where a profile's file is: relative to the settings, so that it is the same from every folder. */
export const pathInConfig = (config: ClientConfig, path: string): string => resolve(dirname(config.path), path)

/** How to connect to the server of a profile, or of the default one, with the session that is kept for it. */
export const optionsOf = Effect.fnUntraced(
  function*(name: string | undefined) {
    const config = yield* clientConfig
    const { defaultProfile, path, profiles } = config
    const wanted = name ?? defaultProfile
    if (wanted === undefined) return yield* new TomlFault({ path, message: `there is no default profile in ${path}` })
    const profile = profiles.get(wanted)
    if (profile === undefined) {
      const message = `there is no profile "${wanted}" in ${path}${didYouMean(wanted, profiles.keys())}`
      return yield* new TomlFault({ path, message })
    }
    const { host, known_hosts, port, username } = profile
    return {
      host,
      port,
      knownHosts: known_hosts === undefined ? undefined : pathInConfig(config, known_hosts),
      takeUpSession: { username }
    }
  },
  Effect.catchTag("TomlFault", ({ message, path }) => new LocalFileError({ path, message }))
)

// --- changes

/** The lines of `[profile.name]`, without the comments behind it, which are another's. */
const sectionOf = (lines: ReadonlyArray<string>, name: string): readonly [from: number, to: number] | undefined => {
  const header = new RegExp(`^\\s*\\[\\s*profile\\s*\\.\\s*(["']?)${name.replaceAll(".", "\\.")}\\1\\s*\\]`)
  const from = lines.findIndex((line) => header.test(line))
  if (from < 0) return undefined
  const next = lines.findIndex((line, at) => at > from && /^\s*\[/.test(line))
  const end = next < 0 ? lines.length : next
  const last = lines.findLastIndex((line, at) => at < end && !/^\s*(#|$)/.test(line))
  return [from, Math.max(from, last) + 1]
}

const withDefault = (text: string, name: string | undefined): string => {
  const lines = text.split("\n")
  const tables = lines.findIndex((line) => /^\s*\[/.test(line))
  const at = lines.findIndex((line, at) => (tables < 0 || at < tables) && /^\s*default\s*=/.test(line))
  if (name === undefined) return at < 0 ? text : lines.toSpliced(at, 1).join("\n")
  const line = stringify({ default: name }).trim()
  if (at >= 0) return lines.with(at, line).join("\n")
  return text === "" ? `${line}\n` : `${line}\n${/^\s*\[/.test(text) ? "\n" : ""}${text}`
}

const withoutProfile = (text: string, name: string): string => {
  const lines = text.split("\n")
  const section = sectionOf(lines, name)
  return section === undefined ? text : lines.toSpliced(section[0], section[1] - section[0]).join("\n")
}

const withProfile = (text: string, name: string, profile: TomlTable): string => {
  const before = text === "" || text.endsWith("\n") ? text : `${text}\n`
  return `${before}${before === "" ? "" : "\n"}${stringify({ profile: { [name]: profile } }).trim()}\n`
}

/** What the file is to say afterwards. */
interface Wanted {
  readonly text: (text: string) => string
  readonly table: (table: TomlTable) => TomlTable
}

const profilesOf = (table: TomlTable): TomlTable => {
  const { profile } = table
  return typeof profile === "object" && !Array.isArray(profile) && !(profile instanceof Date) ? profile : {}
}

/** Empty tables say nothing. */
const without = (table: TomlTable, key: string): TomlTable =>
  Object.fromEntries(Object.entries(table).filter(([name]) => name !== key))

/** What a file says, however it says it. */
const meaning = (table: TomlTable): TomlTable =>
  parse(stringify(Object.keys(profilesOf(table)).length === 0 ? without(table, "profile") : table))

/** Writes the file that a link leads to, as it was protected. */
const write = Effect.fnUntraced(function*(path: string, text: string) {
  const fault = (cause: unknown) =>
    new TomlFault({ path, message: `cannot write ${path}: ${systemErrorReason(cause)}` })
  const there = yield* Effect.tryPromise({
    try: async () => {
      const real = await realpath(path).catch((cause: unknown) => {
        if (systemErrorCode(cause) === "ENOENT") return undefined
        throw cause
      })
      return real === undefined ? { path, mode: 0o600 } : { path: real, mode: (await stat(real)).mode & 0o777 }
    },
    catch: fault
  })
  yield* writeAtomically(there.path, text, there.mode)
})

const change = (check: (config: ClientConfig) => string | undefined, wanted: Wanted): Effect.Effect<void, TomlFault> =>
  Effect.gen(function*() {
    const path = configPath()
    yield* Effect.tryPromise({
      try: () => makeFolder(dirname(path), 0o700),
      catch: (cause) => new TomlFault({ path, message: `cannot make ${dirname(path)}: ${systemErrorReason(cause)}` })
    })
    yield* acquire(`${path}.lock`, { wait: "10 seconds" })
    const file = yield* readFile
    const refusal = check(yield* configOf(file))
    if (refusal !== undefined) return yield* new TomlFault({ path, message: refusal })
    const text = wanted.text(file.text)
    const after = yield* Effect.option(parseTomlFile(path, text))
    if (
      after._tag === "None" ||
      !isDeepStrictEqual(meaning(after.value.table), meaning(wanted.table(file.table)))
    ) {
      return yield* new TomlFault({
        path,
        message: `${path} is written in a way that is better changed by hand: nothing was changed`
      })
    }
    yield* write(path, text)
  }).pipe(
    Effect.scoped,
    Effect.catchTag(
      ["FileLockError", "AtomicFileError"],
      ({ message, path }) => new TomlFault({ path, message })
    )
  )

/** Adds a profile. */
export const addProfile = (name: string, profile: Profile): Effect.Effect<void, TomlFault> => {
  const table = { ...parse(stringify(profile)) }
  return change(
    ({ path, profiles }) =>
      profiles.has(name)
        ? `there is a profile "${name}" already in ${path}: change it there, or "fip profile remove ${name}" first`
        : undefined,
    {
      text: (text) => withProfile(text, name, table),
      table: (before) => ({ ...before, profile: { ...profilesOf(before), [name]: table } })
    }
  )
}

const noProfile = ({ path, profiles }: ClientConfig, name: string): string | undefined =>
  profiles.has(name) ? undefined : `there is no profile "${name}" in ${path}${didYouMean(name, profiles.keys())}`

/** Removes a profile; where it was the default, there is none then. */
export const removeProfile = (name: string): Effect.Effect<void, TomlFault> => {
  let isDefault = false
  return change(
    (config) => {
      isDefault = config.defaultProfile === name
      return noProfile(config, name)
    },
    {
      text: (text) => withoutProfile(isDefault ? withDefault(text, undefined) : text, name),
      table: (before) => {
        const table = { ...before, profile: without(profilesOf(before), name) }
        return isDefault ? without(table, "default") : table
      }
    }
  )
}

export const setDefaultProfile = (name: string | undefined): Effect.Effect<void, TomlFault> =>
  change((config) => name === undefined ? undefined : noProfile(config, name), {
    text: (text) => withDefault(text, name),
    table: (before) => name === undefined ? without(before, "default") : { ...before, default: name }
  })
