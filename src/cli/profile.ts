/** `fip profile`: servers under names of one's own, in the client's settings (ClientConfig.ts). */
import { Effect, Option, Result, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import {
  addProfile,
  type ClientConfig,
  clientConfig,
  Profile,
  ProfileName,
  removeProfile,
  setDefaultProfile
} from "../client/ClientConfig.ts"
import { normalise } from "../client/HostPort.ts"
import { didYouMean } from "../platform/nearest.ts"
import { DEFAULT_PORT } from "../protocol/Limits.ts"
import { jsonFlag, runLocally } from "./localCommand.ts"
import { parseServerName, portOf } from "./ServerName.ts"
import { UsageError } from "./shell/Failure.ts"
import { formatPairs, formatTable } from "./shell/format.ts"

const name = Argument.String("name").pipe(
  Argument.filterMap(
    Schema.decodeUnknownOption(ProfileName),
    () => "a name of letters, digits, dots, dashes and underscores"
  ),
  Argument.withDescription("the profile's name")
)

const jsonOf = ({ defaultProfile }: ClientConfig, name: string, profile: Profile) => ({
  name,
  default: name === defaultProfile,
  ...profile,
  port: profile.port ?? DEFAULT_PORT
})

const find = (config: ClientConfig, name: string): Effect.Effect<Profile, UsageError> => {
  const profile = config.profiles.get(name)
  return profile === undefined
    ? Effect.fail(
      new UsageError({
        message: `there is no profile "${name}" in ${config.path}${didYouMean(name, config.profiles.keys())}`
      })
    )
    : Effect.succeed(profile)
}

const decodeProfile = Schema.decodeUnknownResult(Profile)

const add = Command.make(
  "add",
  {
    name,
    host: Flag.String("host").pipe(Flag.withDescription("the server: a name or address, or host:port")),
    port: Flag.String("port").pipe(Flag.withDescription(`its port (default ${DEFAULT_PORT})`), Flag.optional),
    username: Flag.String("username").pipe(
      Flag.withAlias("user"),
      Flag.withAlias("u"),
      Flag.withDescription("log in as this user"),
      Flag.optional
    ),
    knownHosts: Flag.String("known-hosts").pipe(
      Flag.withMetavar("file"),
      Flag.withDescription("where the server's key is pinned, instead of $XDG_CONFIG_HOME/fip/known_hosts"),
      Flag.optional
    ),
    passwordCommand: Flag.String("password-command").pipe(
      Flag.withMetavar("command"),
      Flag.withDescription("prints the password when one is needed, such as \"pass show fip\""),
      Flag.optional
    ),
    makeDefault: Flag.Boolean("default").pipe(
      Flag.withDescription("and make it the default profile"),
      Flag.withDefault(false)
    ),
    json: jsonFlag
  },
  (given) =>
    runLocally(
      "profile add",
      given.json,
      Effect.gen(function*() {
        const written = yield* parseServerName(given.host)
        const port = Option.getOrUndefined(given.port) ?? written.port
        const address = yield* Effect.mapError(
          Effect.fromResult(normalise(written.name, yield* portOf(port))),
          (message) => new UsageError({ message })
        )
        const username = Option.getOrUndefined(given.username) ?? written.username
        const profile = decodeProfile({
          host: address.host,
          ...(port === undefined ? {} : { port: address.port }),
          ...(username === undefined ? {} : { username }),
          ...Option.match(given.knownHosts, { onNone: () => ({}), onSome: (known_hosts) => ({ known_hosts }) }),
          ...Option.match(given.passwordCommand, {
            onNone: () => ({}),
            onSome: (password_command) => ({ password_command })
          })
        })
        if (Result.isFailure(profile)) return yield* new UsageError({ message: profile.failure.message })
        yield* addProfile(given.name, profile.success)
        if (given.makeDefault) yield* setDefaultProfile(given.name)
        const config = yield* clientConfig
        return {
          message: `"fip connect ${given.name}" goes to ${address.host}:${address.port} (in ${config.path})`,
          result: jsonOf(config, given.name, profile.success)
        }
      })
    )
).pipe(
  Command.withDescription("Give a server a name"),
  Command.withExamples([{ command: "fip profile add work --host files.example.org --username alice_smith --default" }])
)

const list = Command.make(
  "list",
  { json: jsonFlag },
  ({ json }) =>
    runLocally(
      "profile list",
      json,
      Effect.map(clientConfig, (config) => {
        const profiles = Array.from(config.profiles, ([name, profile]) => jsonOf(config, name, profile))
        return {
          message: `${profiles.length} profiles`,
          result: { profiles },
          text: formatTable(
            [{ title: "profile" }, { title: "server" }, { title: "user" }, { title: "" }],
            profiles.map((profile) => [
              profile.name,
              `${profile.host}:${profile.port}`,
              profile.username ?? "",
              profile.default ? "default" : ""
            ])
          )
        }
      })
    )
).pipe(Command.withDescription("The profiles there are"))

const show = Command.make(
  "show",
  { name, json: jsonFlag },
  ({ json, name }) =>
    runLocally(
      "profile show",
      json,
      Effect.gen(function*() {
        const config = yield* clientConfig
        const profile = jsonOf(config, name, yield* find(config, name))
        const pairs = Object.entries(profile).map(([key, value]) => [key, String(value)] as const)
        return { message: profile.host, result: profile, text: formatPairs(pairs) }
      })
    )
).pipe(Command.withDescription("What a profile says"))

const remove = Command.make(
  "remove",
  { name, json: jsonFlag },
  ({ json, name }) =>
    runLocally(
      "profile remove",
      json,
      Effect.as(removeProfile(name), {
        message: `the profile "${name}" is removed; a session that is kept for its server stays`,
        result: { name }
      })
    )
).pipe(Command.withDescription("Remove a profile"))

const setDefault = Command.make(
  "default",
  {
    name: name.pipe(Argument.optional),
    none: Flag.Boolean("none").pipe(Flag.withDescription("have no default profile"), Flag.withDefault(false)),
    json: jsonFlag
  },
  ({ json, name, none }) =>
    runLocally(
      "profile default",
      json,
      Effect.gen(function*() {
        if (none && Option.isSome(name)) return yield* new UsageError({ message: "a name or --none, not both" })
        if (none || Option.isSome(name)) yield* setDefaultProfile(Option.getOrUndefined(name))
        const { defaultProfile } = yield* clientConfig
        return {
          message: defaultProfile ?? "there is no default profile",
          result: { name: defaultProfile },
          ...(defaultProfile === undefined ? {} : { text: defaultProfile })
        }
      })
    )
).pipe(Command.withDescription("The profile that is meant where no server is named; with a name, from now on that one"))

export const profileCommand = Command.make("profile").pipe(
  Command.withDescription("Servers under names of your own: add, list, show, remove, default"),
  Command.withSubcommands([add, list, show, remove, setDefault])
)
