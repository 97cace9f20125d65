/**
 * `fip admin certificate …`: the server's keys. The recovery key never comes near the server: `recovery new` makes it and
 * `recovery sign` uses it, on whatever machine it is kept, and both work without a server.
 */
import { Console, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { createPrivateKey, generateKeyPairSync } from "node:crypto"
import { readFile, writeFile } from "node:fs/promises"
import { continuityCrypto, sign, spkiOf } from "../../platform/Signature.ts"
import { systemErrorCode, systemErrorReason } from "../../platform/systemError.ts"
import { concat, decodeRecord, fingerprintOf, fromText, recordMessage, toText } from "../../protocol/Continuity.ts"
import type { AdminKey, AdminResult } from "../../server/admin/Commands.ts"
import { UsageError } from "../serve.ts"
import { formatPairs, formatTable, formatTime } from "../shell/format.ts"
import { adminCommand } from "./adminCommand.ts"

const described = ({ live, next, recovery, server_id }: AdminResult<"certificate show">): string =>
  formatPairs([
    ["fingerprint", live.fingerprint],
    ["since", formatTime(live.since)],
    ["sequence", `${live.sequence} (generation ${live.generation})`],
    ["next", next],
    ["recovery key", recovery ?? "none (fip admin certificate recovery new)"],
    ["server id", server_id]
  ])

const show = adminCommand({
  asks: "certificate show",
  summary: "The key that clients see, the one that comes next, and the recovery key",
  input: {},
  request: () => Effect.succeed({}),
  say: (result) => ({ message: result.live.fingerprint, text: described(result) })
})

const rotate = adminCommand({
  asks: "certificate rotate",
  summary: "Change to the next key now; connections go on, and clients follow by themselves",
  input: {
    compromised: Flag.Boolean("compromised").pipe(
      Flag.withDescription("note in the history that the old key may be in the wrong hands (see also: recovery)"),
      Flag.withDefault(false)
    )
  },
  request: ({ compromised }) => Effect.succeed({ reason: compromised ? "compromised" : "requested" }),
  say: ({ live }) => ({ message: `the key is now ${live.fingerprint} (number ${live.sequence})` })
})

const row = (
  key: AdminKey
) => [String(key.sequence), key.fingerprint, formatTime(key.since), key.reason, key.vouched_by]

const history = adminCommand({
  asks: "certificate history",
  summary: "Every key that this server has had",
  input: {},
  request: () => Effect.succeed({}),
  say: ({ keys }) => ({
    message: `${keys.length} keys`,
    text: formatTable(
      [{ title: "key", right: true }, { title: "fingerprint" }, { title: "since" }, { title: "why" }, {
        title: "vouched for by"
      }],
      keys.map(row)
    )
  })
})

const recoveryNew = Command.make(
  "new",
  { file: Argument.String("file").pipe(Argument.withDescription("where to write the private key; it must not exist")) },
  Effect.fnUntraced(function*({ file }) {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
    const pem = privateKey.export({ type: "pkcs8", format: "pem" })
    yield* Effect.tryPromise({
      try: () => writeFile(file, pem, { flag: "wx", mode: 0o600, flush: true }),
      catch: (cause) =>
        new UsageError({
          message: systemErrorCode(cause) === "EEXIST"
            ? `${file} exists already, and may be a recovery key: choose another name`
            : `cannot write ${file}: ${systemErrorReason(cause)}`
        })
    })
    const key = spkiOf(privateKey)
    yield* Console.error(`the recovery key ${fingerprintOf(continuityCrypto, key)} is in ${file}`)
    yield* Console.error("keep that file offline, in more than one place; on the server, pin its public key:")
    yield* Console.log(`fip admin certificate recovery pin ${toText(key)}`)
  })
).pipe(Command.withDescription("Make a recovery key; on the machine that is to keep it, without a server"))

const recoveryPin = adminCommand({
  asks: "certificate recovery pin",
  summary: "Tell the server, and through it all clients, the recovery key; once and for ever",
  input: { key: Argument.String("public-key").pipe(Argument.withDescription("what recovery new has printed")) },
  request: ({ key }) => Effect.succeed({ public_key: key }),
  say: ({ recovery }) => ({ message: `clients that connect from now on pin the recovery key ${recovery ?? ""}` })
})

const recoveryPrepare = adminCommand({
  asks: "certificate recovery prepare",
  summary: "Make a key that nobody can have seen, and the record of it for the recovery key to sign",
  input: {},
  request: () => Effect.succeed({}),
  say: ({ record }) => ({ message: "sign this where the recovery key is (recovery sign)", text: record, both: true })
})

const recoverySign = Command.make(
  "sign",
  {
    file: Argument.String("file").pipe(Argument.withDescription("the recovery key")),
    record: Argument.String("record").pipe(Argument.withDescription("what recovery prepare has printed"))
  },
  Effect.fnUntraced(function*({ file, record }) {
    const pem = yield* Effect.tryPromise({
      try: () => readFile(file),
      catch: (cause) => new UsageError({ message: `cannot read ${file}: ${systemErrorReason(cause)}` })
    })
    const key = yield* Effect.try({
      try: () => createPrivateKey(pem),
      catch: () => new UsageError({ message: `${file} is no private key` })
    })
    const bytes = fromText(record)
    const decoded = bytes === undefined ? undefined : decodeRecord(bytes)
    if (bytes === undefined || decoded === undefined) {
      return yield* new UsageError({ message: "the record is not what recovery prepare has printed" })
    }
    const recovery = fingerprintOf(continuityCrypto, spkiOf(key))
    if (decoded.recovery !== recovery) {
      return yield* new UsageError({
        message: `the server's recovery key is ${decoded.recovery ?? "none"}, not ${recovery}`
      })
    }
    yield* Console.error(
      `vouching for the key ${fingerprintOf(continuityCrypto, decoded.newKey)} of the server ${decoded.serverId}; ` +
        "on the server:"
    )
    yield* Console.log(
      `fip admin certificate recovery apply ${toText(concat(bytes, sign(key, recordMessage(bytes))))}`
    )
  })
).pipe(Command.withDescription("Sign a prepared record; on the machine that keeps the recovery key, without a server"))

const recoveryApply = adminCommand({
  asks: "certificate recovery apply",
  summary: "Change to the prepared key; whatever older keys sign from now on is worth nothing",
  input: { signed: Argument.String("signed").pipe(Argument.withDescription("what recovery sign has printed")) },
  request: ({ signed }) => Effect.succeed({ signed }),
  say: ({ live }) => ({ message: `the key is now ${live.fingerprint} (generation ${live.generation})` })
})

const recovery = Command.make("recovery").pipe(
  Command.withDescription("The recovery key: for the day when the server's own keys are in the wrong hands"),
  Command.withSubcommands([recoveryNew, recoveryPin, recoveryPrepare, recoverySign, recoveryApply])
)

export const certificateCommand = Command.make("certificate").pipe(
  Command.withDescription("The server's keys: show, rotate, history, recovery"),
  Command.withSubcommands([show, rotate, history, recovery])
)
