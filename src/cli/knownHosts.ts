/** `fip known-hosts`: the keys of servers that this user's clients have pinned. */
import { Effect, Option, Schema } from "effect"
import { Argument, Command } from "effect/cli"
import type { LocalFileError } from "../client/ClientError.ts"
import { formatHostPort, type HostPort, normalise } from "../client/HostPort.ts"
import { defaultPath, findPin, type KnownHost, listPins, removePin, replacePin } from "../client/KnownHosts.ts"
import { Fingerprint } from "../protocol/Identity.ts"
import { DEFAULT_PORT } from "../protocol/Limits.ts"
import { jsonFlag, knownHostsFlag, runLocally } from "./localCommand.ts"
import { UsageError } from "./shell/Failure.ts"
import { formatPairs, formatTable, formatTime } from "./shell/format.ts"
import type { Outcome } from "./shell/Report.ts"

const common = { knownHosts: knownHostsFlag, json: jsonFlag }

const server = {
  host: Argument.String("host").pipe(Argument.withDescription("the server: name, address, or host:port")),
  port: Argument.String("port").pipe(
    Argument.withDescription(`its port (default ${DEFAULT_PORT})`),
    Argument.optional
  )
}

/** `host`, `host port` and `host:port`, as fip prints it. */
const addressOf = (host: string, port: Option.Option<string>): Effect.Effect<HostPort, UsageError> => {
  const [, bare = host, behind] = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(host) ?? []
  const number = Number(Option.getOrElse(port, () => behind ?? String(DEFAULT_PORT)))
  return Effect.mapError(
    Effect.fromResult(normalise(bare, number)),
    (message) => new UsageError({ message })
  )
}

const timeOf = ({ fields }: KnownHost): string => fields.get("changed_at") ?? fields.get("pinned_at") ?? ""

const jsonOf = ({ at, fields, fingerprint, standing }: KnownHost) => ({
  host: at,
  fingerprint,
  pinned_at: fields.get("pinned_at"),
  changed_at: fields.get("changed_at"),
  server_id: standing?.serverId,
  generation: standing?.generation,
  sequence: standing?.sequence,
  next: standing?.next,
  recovery: standing?.recovery
})

const pairsOf = (host: KnownHost): ReadonlyArray<readonly [string, string]> => {
  const { fingerprint, pinned_at, changed_at, next, recovery, sequence, server_id } = jsonOf(host)
  const pairs: ReadonlyArray<readonly [string, string | undefined]> = [
    ["fingerprint", fingerprint],
    ["pinned", pinned_at === undefined ? undefined : formatTime(pinned_at)],
    ["changed", changed_at === undefined ? undefined : formatTime(changed_at)],
    ["sequence", sequence?.toString()],
    ["next key", next],
    ["recovery key", recovery],
    ["server id", server_id]
  ]
  return pairs.flatMap(([name, value]) => value === undefined ? [] : [[name, value]])
}

const unknown = (address: HostPort, path: string): UsageError =>
  new UsageError({ message: `nothing is pinned for ${formatHostPort(address)} in ${path}` })

const run = (
  command: string,
  { json, knownHosts }: { readonly json: boolean; readonly knownHosts: Option.Option<string> },
  use: (path: string) => Effect.Effect<Omit<Outcome, "code">, UsageError | LocalFileError>
) => runLocally(command, json, use(Option.getOrElse(knownHosts, defaultPath)))

const list = Command.make(
  "list",
  { common },
  ({ common }) =>
    run("known-hosts list", common, (path) =>
      Effect.map(listPins(path), (hosts) => ({
        message: `${hosts.length} servers`,
        result: { hosts: hosts.map(jsonOf) },
        text: formatTable(
          [{ title: "server" }, { title: "fingerprint" }, { title: "since" }],
          hosts.map((host) => [host.at, host.fingerprint, timeOf(host) === "" ? "" : formatTime(timeOf(host))])
        )
      })))
).pipe(Command.withDescription("The servers whose keys are pinned"))

const show = Command.make(
  "show",
  { server, common },
  ({ common, server }) =>
    run(
      "known-hosts show",
      common,
      Effect.fnUntraced(function*(path) {
        const address = yield* addressOf(server.host, server.port)
        const host = yield* findPin(path, address)
        if (host === undefined) return yield* unknown(address, path)
        return { message: host.fingerprint, result: jsonOf(host), text: formatPairs(pairsOf(host)) }
      })
    )
).pipe(Command.withDescription("What is known of a server's keys"))

const remove = Command.make(
  "remove",
  { server, common },
  ({ common, server }) =>
    run(
      "known-hosts remove",
      common,
      Effect.fnUntraced(function*(path) {
        const address = yield* addressOf(server.host, server.port)
        const host = yield* removePin(path, address)
        if (host === undefined) return yield* unknown(address, path)
        return {
          message: `${host.at} is forgotten (its key was ${host.fingerprint}): it will be new when it is met again`,
          result: jsonOf(host)
        }
      })
    )
).pipe(Command.withDescription("Forget a server: the next connection pins its key anew"))

const decodeFingerprint = Schema.decodeUnknownOption(Fingerprint)

const fingerprintOf = (text: string): Effect.Effect<Fingerprint, UsageError> =>
  Effect.mapError(
    Effect.fromOption(decodeFingerprint(text)),
    () =>
      new UsageError({
        message: "a fingerprint is SHA256: and 43 letters and digits: ask the server's administrator for it " +
          "(fip admin certificate show)"
      })
  )

const replace = Command.make(
  "replace",
  {
    host: Argument.String("host").pipe(Argument.withDescription("the server, as host:port")),
    fingerprint: Argument.String("fingerprint").pipe(
      Argument.withDescription("the key it is to have, as its administrator names it: SHA256:…")
    ),
    common
  },
  ({ common, fingerprint, host }) =>
    run(
      "known-hosts replace",
      common,
      Effect.fnUntraced(function*(path) {
        const address = yield* addressOf(host, Option.none())
        const expected = yield* fingerprintOf(fingerprint)
        const before = yield* replacePin(path, address, expected)
        const at = formatHostPort(address)
        return {
          message: before === undefined
            ? `${expected} is pinned for ${at}`
            : before.fingerprint === expected
            ? `${expected} was pinned for ${at} already`
            : `${expected} is pinned for ${at} in place of ${before.fingerprint}`,
          result: { host: at, fingerprint: expected, replaced: before?.fingerprint }
        }
      })
    )
).pipe(
  Command.withDescription("Pin the key that you name: after the server has lost its own, or before it is first met")
)

export const knownHostsCommand = Command.make("known-hosts").pipe(
  Command.withDescription("The keys of servers that are pinned: list, show, replace, remove"),
  Command.withSubcommands([list, show, replace, remove])
)
