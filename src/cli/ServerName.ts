/**
 * How people name a server, and a file on it: `work` (a profile), `files.example.org`, `alice@host:6090`,
 * `fip://host:6090`; with a path behind a colon, `work:docs/a.txt`, `host:6090:a.txt`, `fip://host/docs/a.txt`.
 *
 * A profile's name goes before a host's; behind `fip://` stands always a host. Nothing at all (`:docs/`) is the default
 * profile.
 */
import { Config, Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import { isIPv6 } from "node:net"
import { type ClientConfig, clientConfig, pathInConfig, type Profile } from "../client/ClientConfig.ts"
import { DEFAULT_PORT } from "../protocol/Limits.ts"
import { UsageError } from "./shell/Failure.ts"

/** A server as it was written. */
export interface ServerName {
  /** Empty: the default profile. */
  readonly name: string
  readonly port: string | undefined
  readonly username: string | undefined
  /** It was written as `fip://…`. */
  readonly isUrl: boolean
}

/** What there is to know of a server before it is connected to. */
export interface Server {
  readonly host: string
  readonly port: number
  readonly username: string | undefined
  readonly knownHosts: string | undefined
  /** Asks a command of the user's own for the password. */
  readonly passwordCommand: Effect.Effect<Redacted.Redacted, UsageError> | undefined
  readonly profile: string | undefined
  /** What the user's lines may begin with, on every server. */
  readonly aliases: ReadonlyMap<string, string>
}

const URL_PREFIX = "fip://"

/** `user@`, a name or an address in brackets, and `:port`. */
const AUTHORITY = /^(?:([^@/]*)@)?(\[[^\]]*\]|[^:@/[\]]*)(?::(\d{1,5}))?$/

const authorityOf = (text: string, isUrl: boolean): ServerName | undefined => {
  const [matched, username, name = "", port] = AUTHORITY.exec(text) ?? []
  return matched === undefined ? undefined : { name, port, username, isUrl }
}

const notAServer = (text: string): UsageError =>
  new UsageError({ message: `"${text}" names no server: write a profile, a host, user@host:port, or fip://host:port` })

/** A server by itself, as `fip connect` takes one. */
export const parseServerName = (text: string): Effect.Effect<ServerName, UsageError> => {
  const bare = text.startsWith(URL_PREFIX) ? text.slice(URL_PREFIX.length).replace(/\/$/, "") : text
  const parsed = isIPv6(text)
    ? { name: text, port: undefined, username: undefined, isUrl: false }
    : authorityOf(bare, bare !== text)
  return parsed === undefined ? Effect.fail(notAServer(text)) : Effect.succeed(parsed)
}

/** A file or folder that stands on a server. */
export interface RemoteName {
  readonly server: ServerName
  /** As the shell's commands take it; `/` for everything of one's own. */
  readonly path: string
}

/** Reads what stands for something on a server; `undefined` is a path of this machine. */
export const parseRemoteName = (text: string): Effect.Effect<RemoteName | undefined, UsageError> => {
  const isUrl = text.startsWith(URL_PREFIX)
  const [, authority, path = ""] = isUrl
    ? /^([^/]*)(?:\/(.*))?$/s.exec(text.slice(URL_PREFIX.length)) ?? []
    // A slash before the first colon: a path of this machine, as ./a:b is.
    : /^((?:[^@:/[\]]*@)?(?:\[[^\]]*\]|[^:/[\]]*)(?::\d{1,5}(?=:))?):(.*)$/s.exec(text) ?? []
  if (authority === undefined) return isUrl ? Effect.fail(notAServer(text)) : Effect.undefined
  const server = authorityOf(authority, isUrl)
  if (server === undefined) return Effect.fail(notAServer(text))
  // As with a folder of one's own elsewhere, /docs and docs are the same.
  return Effect.succeed({ server, path: path.replace(/^\/+/, "") || "/" })
}

/** How long a command may take to print a password: it may ask its user for a finger or a passphrase. */
const COMMAND_PATIENCE = 120_000

/** The first line that a command prints. What it says on standard error goes to ours. */
const runPasswordCommand = (command: NonNullable<Profile["password_command"]>) =>
  Effect.callback<Redacted.Redacted, UsageError>((resume) => {
    const [program = "", ...args] = typeof command === "string" ? ["/bin/sh", "-c", command] : command
    const child = execFile(program, args, { timeout: COMMAND_PATIENCE, encoding: "utf8" }, (error, stdout) => {
      const password = stdout.split(/\r?\n/, 1)[0] ?? ""
      if (error === null && password !== "") return resume(Effect.succeed(Redacted.make(password)))
      const why = error === null
        ? "printed nothing"
        : error.killed
        ? "took too long"
        : typeof error.code === "number"
        ? `ended with status ${error.code}`
        : `could not be run (${error.code ?? error.signal})`
      resume(Effect.fail(new UsageError({ message: `the password_command of the profile ${why}` })))
    })
    child.stderr?.pipe(process.stderr, { end: false })
    child.stdin?.end()
    return Effect.sync(() => child.kill())
  })

const noDefault = ({ path, profiles }: ClientConfig): UsageError =>
  new UsageError({
    message: profiles.size === 0
      ? `say which server: a host, or a profile (fip profile add <name> --host <host>)`
      : `say which server: there is no default profile in ${path} (fip profile default <name>)`
  })

export const portOf = (text: string | undefined): Effect.Effect<number, UsageError> => {
  if (text === undefined) return Effect.succeed(DEFAULT_PORT)
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  return port >= 1 && port <= 65535
    ? Effect.succeed(port)
    : Effect.fail(new UsageError({ message: `a port is a number from 1 to 65535, not "${text}"` }))
}

/** An environment variable that says something. */
export const fromEnvironment = (name: string): Effect.Effect<string | undefined> =>
  Config.String(name).pipe(
    Effect.map((value) => value === "" ? undefined : value),
    Effect.orElseSucceed(() => undefined)
  )

/** Finds the server that a name means: what was written goes before the environment, and that before the profile. */
export const findServer = Effect.fnUntraced(function*(written: ServerName): Effect.fn.Return<Server, UsageError> {
  const config = yield* Effect.mapError(clientConfig, ({ message }) => new UsageError({ message }))
  const name = written.name === "" && !written.isUrl ? config.defaultProfile : written.name
  if (name === undefined || name === "") return yield* noDefault(config)
  const profile = written.isUrl ? undefined : config.profiles.get(name)
  const username = written.username ?? (yield* fromEnvironment("FIP_USERNAME"))
  if (profile === undefined) {
    const port = yield* portOf(written.port)
    const { aliases } = config
    return {
      host: name,
      port,
      username,
      knownHosts: undefined,
      passwordCommand: undefined,
      profile: undefined,
      aliases
    }
  }
  const { password_command: command } = profile
  return {
    host: profile.host,
    port: written.port === undefined ? profile.port ?? DEFAULT_PORT : yield* portOf(written.port),
    username: username ?? profile.username,
    knownHosts: profile.known_hosts === undefined ? undefined : pathInConfig(config, profile.known_hosts),
    // The password of the profile's user, and of nobody else.
    passwordCommand: command === undefined || (username !== undefined && username !== profile.username)
      ? undefined
      : runPasswordCommand(command),
    profile: name,
    aliases: config.aliases
  }
})
