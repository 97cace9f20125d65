/** The server's keys change without a moment in which it has no identity, or one that no client would follow. */
import { assert, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Result } from "effect"
import { TestClock } from "effect/testing"
import { spawn } from "node:child_process"
import { generateKeyPairSync } from "node:crypto"
import { once } from "node:events"
import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { continuityCrypto, sign, spkiOf } from "../../src/platform/Signature.ts"
import { concat, fingerprintOf, recordMessage } from "../../src/protocol/Continuity.ts"
import { type Pin, verifyContinuity } from "../../src/protocol/ContinuityProof.ts"
import { ServerIdentity } from "../../src/server/Identity.ts"
import { rotationLayer } from "../../src/server/identity/Rotation.ts"
import { keyPem } from "../../src/server/identity/selfSigned.ts"
import { defaults, ServerConfig, type ServerSettings } from "../../src/server/ServerConfig.ts"
import { ShutdownCoordinator } from "../../src/server/ShutdownCoordinator.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

type Identity = ServerIdentity["Service"]

const openIn = (dataDir: string, settings: Partial<ServerSettings> = {}) =>
  Layer.build(rotationLayer.pipe(Layer.provideMerge(Layer.mergeAll(ServerIdentity.layer, ShutdownCoordinator.layer))))
    .pipe(
      Effect.provideService(ServerConfig, { ...defaults, dataDir, ...settings })
    )

const identityIn = (dataDir: string) => Effect.map(openIn(dataDir), (context) => Context.get(context, ServerIdentity))

const pathIn = (dataDir: string): string => join(dataDir, "identity/current.pem")
const exporter = new Uint8Array(32).fill(7)

/** What a client that knows `pin` comes to know on a connection with the live key. */
const follow = Effect.fnUntraced(function*(identity: Identity, pin: Pin) {
  const { fingerprint, spki } = yield* identity.state
  const proof = yield* identity.prove({ fingerprint, exporter }, pin.fingerprint)
  return verifyContinuity(continuityCrypto, pin, proof, { key: spki, exporter })
})

const bare = Effect.fnUntraced(function*(identity: Identity): Effect.fn.Return<Pin> {
  return { fingerprint: (yield* identity.state).fingerprint, standing: undefined }
})

/** A client that has heard everything. */
const meet = Effect.fnUntraced(function*(identity: Identity) {
  return Result.getOrThrow(yield* follow(identity, yield* bare(identity)))
})

it.live("rotates to the key it has announced, is found again with all its keys, and is followed from each", () =>
  Effect.gen(function*() {
    const dataDir = yield* temporaryFolder
    const pins: Array<Pin> = []
    for (let round = 0; round < 4; round++) {
      yield* Effect.scoped(Effect.gen(function*() {
        const identity = yield* identityIn(dataDir)
        for (const pin of pins) {
          assert.deepStrictEqual(yield* follow(identity, pin), Result.succeed(yield* meet(identity)))
        }
        const { fingerprint, standing } = yield* meet(identity)
        assert.strictEqual(standing.sequence, round)
        pins.push({ fingerprint, standing }, { fingerprint, standing: undefined })
        const after = yield* identity.rotate("requested")
        assert.strictEqual(after.fingerprint, standing.next)
      }))
    }
  }))

it.live("tells whoever follows it, in order, and only while they follow", () =>
  Effect.gen(function*() {
    const identity = yield* identityIn(yield* temporaryFolder)
    const seen: Array<string> = []
    yield* Effect.scoped(Effect.gen(function*() {
      yield* identity.follow(({ fingerprint }) => void seen.push(fingerprint))
      yield* Effect.all([identity.rotate("requested"), identity.rotate("requested")], { concurrency: 2 })
    }))
    yield* identity.rotate("requested")
    const { history } = yield* identity.state
    assert.deepStrictEqual(
      seen,
      history.slice(0, 3).map(({ record }) => fingerprintOf(continuityCrypto, record.newKey))
    )
  }))

it.live("signs for a session with the key that the session was made with, one rotation long", () =>
  Effect.gen(function*() {
    const identity = yield* identityIn(yield* temporaryFolder)
    const before = yield* identity.state
    const session = { fingerprint: before.fingerprint, exporter }
    yield* identity.rotate("requested")
    const proof = yield* identity.prove(session, undefined)
    const pin = { fingerprint: before.fingerprint, standing: undefined }
    assert.isTrue(Result.isSuccess(verifyContinuity(continuityCrypto, pin, proof, { key: before.spki, exporter })))
    yield* identity.rotate("requested")
    const refusal = yield* Effect.flip(identity.prove(session, undefined))
    assert.strictEqual(refusal.code, "2:opcf")
    assert.include(refusal.message, "connect again")
  }))

it.live("goes on from an identity that was made before there were records", () =>
  Effect.gen(function*() {
    const dataDir = yield* temporaryFolder
    const made = yield* Effect.scoped(Effect.flatMap(identityIn(dataDir), ({ state }) => state))
    yield* Effect.promise(() => writeFile(pathIn(dataDir), keyPem(made.key) + made.certificate, { mode: 0o600 }))
    const pin = { fingerprint: made.fingerprint, standing: undefined }
    yield* Effect.scoped(Effect.gen(function*() {
      const identity = yield* identityIn(dataDir)
      assert.strictEqual((yield* identity.state).fingerprint, made.fingerprint)
      yield* identity.rotate("requested")
    }))
    const identity = yield* identityIn(dataDir)
    assert.isTrue(Result.isSuccess(yield* follow(identity, pin)))
  }))

it.live("refuses a file whose history has a hole, an end too early, or a part missing", () =>
  Effect.gen(function*() {
    const dataDir = yield* temporaryFolder
    yield* Effect.scoped(Effect.flatMap(identityIn(dataDir), (identity) =>
      Effect.andThen(identity.rotate("requested"), identity.rotate("requested"))))
    const text = yield* Effect.promise(() =>
      readFile(pathIn(dataDir), "utf8")
    )
    const blocks = text.split(/(?=-----BEGIN)/)
    const records = blocks.flatMap((block, index) => block.includes("RECORD") ? [index] : [])
    const next = blocks.findIndex((block) => block.includes("NEXT"))
    for (const without of [...records, next]) {
      yield* Effect.promise(() => writeFile(pathIn(dataDir), blocks.toSpliced(without, 1).join("")))
      const error = yield* Effect.flip(Effect.scoped(identityIn(dataDir)))
      assert.match(error.message, /it is damaged: (its records do not|a part of it is missing)/)
    }
  }))

it.live("is led by its recovery key, and by no other, to a key that nobody has seen", () =>
  Effect.gen(function*() {
    const identity = yield* identityIn(yield* temporaryFolder)
    const deaf = yield* meet(identity)
    assert.match((yield* Effect.flip(identity.prepareRecovery)).message, /no recovery key/)
    assert.deepStrictEqual(yield* meet(identity), deaf)
    const recovery = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey
    const other = generateKeyPairSync("ed25519").privateKey
    yield* identity.setRecovery(spkiOf(recovery))
    assert.match((yield* Effect.flip(identity.setRecovery(spkiOf(other)))).message, /a recovery key already/)
    const pin = yield* meet(identity)

    const record = yield* identity.prepareRecovery
    assert.notStrictEqual((yield* meet(identity)).standing.next, pin.standing.next)
    const signed = (key: typeof recovery, bytes = record) => concat(bytes, sign(key, recordMessage(bytes)))
    assert.match((yield* Effect.flip(identity.recover(signed(other)))).message, /not the recovery key's/)
    assert.match((yield* Effect.flip(identity.recover(record))).message, /not a signed recovery record/)
    const recovered = yield* identity.recover(signed(recovery))
    assert.strictEqual(recovered.record.generation, 1)
    assert.match((yield* Effect.flip(identity.recover(signed(recovery)))).message, /prepare it again/)

    yield* identity.rotate("scheduled")
    assert.deepStrictEqual(yield* follow(identity, pin), Result.succeed(yield* meet(identity)))
    assert.isTrue(Result.isFailure(yield* follow(identity, deaf)))
  }))

it.effect("rotates by schedule, counted from the last change, until the shutdown begins", () =>
  Effect.gen(function*() {
    const context = yield* openIn(yield* temporaryFolder, { rotateEvery: Duration.days(90) })
    const identity = Context.get(context, ServerIdentity)
    const changes: Array<string> = []
    let told: (() => void) | undefined
    yield* identity.follow(({ fingerprint }) => {
      changes.push(fingerprint)
      told?.()
    })
    const nextChange = () =>
      Effect.callback<void>((resume) => {
        told = () => resume(Effect.void)
      })
    yield* TestClock.adjust("89 days")
    assert.lengthOf(changes, 1)
    yield* Effect.all([nextChange(), TestClock.adjust("1 day")], { concurrency: 2 })
    yield* identity.rotate("requested")
    yield* TestClock.adjust("89 days")
    assert.lengthOf(changes, 3)
    yield* Effect.all([nextChange(), TestClock.adjust("2 days")], { concurrency: 2 })
    assert.strictEqual((yield* identity.state).record.reason, "scheduled")
    yield* Context.get(context, ShutdownCoordinator).begin
    yield* TestClock.adjust("400 days")
    assert.lengthOf(changes, 4)
  }))

const rotateForever = `
  const { Context, Effect, Layer } = await import("effect")
  const { ServerIdentity } = await import("./src/server/Identity.ts")
  const { defaults, ServerConfig } = await import("./src/server/ServerConfig.ts")
  const program = Effect.gen(function*() {
    const context = yield* Layer.build(ServerIdentity.layer)
    const identity = Context.get(context, ServerIdentity)
    while (true) console.log((yield* identity.rotate("requested")).fingerprint)
  })
  await Effect.runPromise(Effect.scoped(program.pipe(
    Effect.provideService(ServerConfig, { ...defaults, dataDir: process.argv[1] })
  )))
`

it.live(
  "is whole after kill -9 at any moment: the old identity or the new one, and no key is lost that was shown",
  () =>
    Effect.gen(function*() {
      const dataDir = yield* temporaryFolder
      const first = yield* Effect.scoped(Effect.flatMap(identityIn(dataDir), meet))
      for (let round = 0; round < 8; round++) {
        const shown = yield* Effect.promise(async () => {
          const child = spawn(process.execPath, ["--input-type=module", "-e", rotateForever, dataDir], {
            stdio: "pipe"
          })
          const seen: Array<string> = []
          let text = ""
          child.stdout.on("data", (chunk) => {
            text += chunk
            seen.push(...text.split("\n").slice(0, -1))
            text = text.slice(text.lastIndexOf("\n") + 1)
            // After another number of rotations each time, and somewhere within the next one.
            if (seen.length > round) setTimeout(() => child.kill("SIGKILL"), Math.random() * 4)
          })
          const errors: Array<Buffer> = []
          child.stderr.on("data", (chunk: Buffer) => errors.push(chunk))
          const [, signal] = await once(child, "close")
          assert.strictEqual(signal, "SIGKILL", Buffer.concat(errors).toString())
          return seen
        })
        yield* Effect.scoped(Effect.gen(function*() {
          const identity = yield* identityIn(dataDir)
          const { history } = yield* identity.state
          const keys = new Set<string>(history.map(({ record }) => fingerprintOf(continuityCrypto, record.newKey)))
          for (const key of shown) assert.isTrue(keys.has(key))
          assert.isTrue(Result.isSuccess(yield* follow(identity, first)))
        }))
      }
      assert.include(yield* Effect.promise(() => readdir(join(dataDir, "identity"))), "current.pem")
    }),
  60_000
)
