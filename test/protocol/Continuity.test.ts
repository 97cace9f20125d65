/** The chain of keys: every honest one leads a client on, and nothing else does. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as fc from "fast-check"
import { generateKeyPairSync, type KeyObject } from "node:crypto"
import { continuityCrypto, sign, spkiOf, verifyAside } from "../../src/platform/Signature.ts"
import {
  concat,
  type ContinuityCrypto,
  type ContinuityRecord,
  decodeRecord,
  decodeStatement,
  encodeRecord,
  encodeStatement,
  fingerprintOf,
  fromText,
  isPublicKey,
  recordMessage,
  type SessionStatement,
  splitSigned,
  statementMessage,
  toText
} from "../../src/protocol/Continuity.ts"
import { type ContinuityProof, type Pin, verifyContinuity } from "../../src/protocol/ContinuityProof.ts"
import { MAX_CONTINUITY_RECORDS } from "../../src/protocol/Limits.ts"
import { makeServer, p256, type TestIdentity } from "../support/TestIdentity.ts"
import { examples } from "./examples.ts"

const hash = (spki: Uint8Array) => fingerprintOf(continuityCrypto, spki)

/** Each signature is checked once: many cases share most of their chain. */
const remembering = (): ContinuityCrypto => {
  const known = new Map<string, boolean>()
  return {
    sha256: continuityCrypto.sha256,
    verify: (spki, message, signature) => {
      const key = Buffer.concat([spki, message, signature]).toString("latin1")
      const found = known.get(key) ?? continuityCrypto.verify(spki, message, signature)
      known.set(key, found)
      return found
    }
  }
}
const crypto = remembering()

const accept = (pin: Pin, proof: ContinuityProof, server: Pick<TestIdentity, "session">) =>
  verifyContinuity(crypto, pin, proof, server.session)

const reasonOf = (pin: Pin, proof: ContinuityProof, server: Pick<TestIdentity, "session">): string => {
  const result = accept(pin, proof, server)
  return Result.isFailure(result) ? result.failure : assert.fail("accepted")
}

describe("records and statements", () => {
  const anyHash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => hash(bytes))
  const numbers = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
  const serverId = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("hex"))
  const generation = fc.integer({ min: 0, max: 2 ** 32 - 1 })
  const key = fc.constantFrom(spkiOf(p256()), spkiOf(generateKeyPairSync("ed25519").publicKey))
  const option = fc.option(anyHash, { nil: undefined })
  const anyRecord: fc.Arbitrary<ContinuityRecord> = fc.oneof(
    ...(["first", "rotation", "recovery"] as const).map((kind) =>
      fc.record({
        kind: fc.constant(kind),
        reason: kind === "first"
          ? fc.constant("first" as const)
          : fc.constantFrom("scheduled" as const, "requested" as const, "compromised" as const),
        serverId,
        generation,
        sequence: numbers,
        notBefore: numbers,
        oldKey: kind === "first" ? fc.constant(undefined) : anyHash,
        recovery: option,
        newKey: key,
        signer: kind === "recovery" ? key : fc.constant(undefined)
      })
    )
  )
  const anyStatement: fc.Arbitrary<SessionStatement> = fc.record({
    serverId,
    generation,
    sequence: numbers,
    time: numbers,
    key: anyHash,
    next: option,
    recovery: option
  })

  it("are read as they were written", () => {
    fc.assert(fc.property(anyRecord, (record) => {
      assert.deepStrictEqual(decodeRecord(encodeRecord(record)), record)
    }))
    fc.assert(fc.property(anyStatement, (statement) => {
      assert.deepStrictEqual(decodeStatement(encodeStatement(statement)), statement)
    }))
  })

  it("have one encoding: bytes that are read are the bytes that would be written", () => {
    fc.assert(fc.property(
      fc.oneof(anyRecord.map(encodeRecord), anyStatement.map(encodeStatement)),
      fc.nat(),
      fc.integer({ min: 0, max: 255 }),
      fc.integer({ min: -2, max: 2 }),
      (whole, at, byte, longer) => {
        const bytes = new Uint8Array(whole.length + longer)
        bytes.set(whole.subarray(0, bytes.length))
        bytes[at % bytes.length] = byte
        const record = decodeRecord(bytes)
        if (record !== undefined) assert.deepStrictEqual(encodeRecord(record), bytes)
        const statement = decodeStatement(bytes)
        if (statement !== undefined) assert.deepStrictEqual(encodeStatement(statement), bytes)
      }
    ))
  })

  it("are nothing when a record contradicts itself: who signs it, what was before, and why it was made", () => {
    fc.assert(fc.property(anyRecord, key, anyHash, (record, signer, oldKey) => {
      const isFirst = record.kind === "first"
      const contradictions: ReadonlyArray<Partial<ContinuityRecord>> = [
        { signer: record.signer === undefined ? signer : undefined },
        { oldKey: record.oldKey === undefined ? oldKey : undefined },
        { reason: isFirst ? "requested" : "first" }
      ]
      for (const contradiction of contradictions) {
        assert.isUndefined(decodeRecord(encodeRecord({ ...record, ...contradiction })))
      }
    }))
  })

  it("are nothing for any other bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      const record = decodeRecord(bytes)
      if (record !== undefined) assert.deepStrictEqual(encodeRecord(record), bytes)
      const statement = decodeStatement(bytes)
      if (statement !== undefined) assert.deepStrictEqual(encodeStatement(statement), bytes)
    }))
  })

  it("know keys on P-256, uncompressed, and Ed25519, and no others", () => {
    assert.isTrue(isPublicKey(spkiOf(p256())))
    assert.isTrue(isPublicKey(spkiOf(generateKeyPairSync("ed25519").publicKey)))
    for (const other of ["secp256k1", "secp384r1", "brainpoolP256r1"]) {
      assert.isFalse(isPublicKey(spkiOf(generateKeyPairSync("ec", { namedCurve: other }).publicKey)), other)
    }
    assert.isFalse(isPublicKey(spkiOf(generateKeyPairSync("x25519").publicKey)))
    assert.isFalse(isPublicKey(new Uint8Array(91)))
    const offCurve = spkiOf(p256()).with(90, 0).with(89, 0)
    assert.isFalse(continuityCrypto.verify(offCurve, new Uint8Array(1), new Uint8Array(64)))
  })

  it.live("are verified alike on this thread and aside from it", () =>
    Effect.promise(async () => {
      const message = new Uint8Array(100)
      for (const key of [p256(), generateKeyPairSync("ed25519").privateKey]) {
        const good = sign(key, message)
        const spki = spkiOf(key)
        const cases: ReadonlyArray<readonly [Uint8Array, Uint8Array, boolean]> = [
          [spki, good, true],
          [spki, good.with(9, (good[9] ?? 0) ^ 1), false],
          [spki, good.subarray(1), false],
          [spki, new Uint8Array(64), false],
          [spkiOf(p256()), good, false],
          [spki.with(spki.length - 1, 0).with(spki.length - 2, 0), good, false],
          [new Uint8Array(0), good, false]
        ]
        for (const [key, signature, expected] of cases) {
          assert.strictEqual(continuityCrypto.verify(key, message, signature), expected)
          assert.strictEqual(await verifyAside(key, message, signature), expected)
        }
      }
    }))

  it("are signed under labels of their own: a signature for one means nothing for the other", () => {
    const key = p256()
    const bytes = new Uint8Array(200)
    const signature = sign(key, recordMessage(bytes))
    assert.isTrue(continuityCrypto.verify(spkiOf(key), recordMessage(bytes), signature))
    assert.isFalse(continuityCrypto.verify(spkiOf(key), statementMessage(bytes, new Uint8Array(0)), signature))
    assert.isFalse(continuityCrypto.verify(spkiOf(key), bytes, signature))
  })

  it("travel as base64 in its one form", () => {
    assert.isUndefined(fromText("AB=="))
    assert.isUndefined(fromText("AAAA\n"))
    assert.isUndefined(fromText("%%%%"))
    assert.deepStrictEqual(fromText("AA=="), Uint8Array.of(0))
  })

  it("in the protocol's document are real ones", () => {
    const [question, answer] = examples.find(({ name }) => name === "Credentials")?.messages ?? []
    const proof: ContinuityProof = JSON.parse(answer?.body ?? "")
    const { content } = splitSigned(fromText(proof.records[0] ?? "") ?? new Uint8Array(0))
    const session = { key: content.subarray(-91), exporter: new Uint8Array(32).map((_, index) => index) }
    const pin = { fingerprint: JSON.parse(question?.body ?? "").pinned, standing: undefined }
    const followed = accept(pin, proof, { session })
    assert.strictEqual(Result.getOrThrow(followed).standing.sequence, 1)
  })
})

describe("an honest server", () => {
  it("is followed from every key it ever had, and from every one it has announced", () => {
    const server = makeServer()
    const pins: Array<Pin> = [server.pin(), server.barePin()]
    for (let round = 0; round < 12; round++) {
      if (round === 3) server.setRecovery(p256())
      if (round === 7) server.recover()
      else server.rotate()
      for (const pin of pins) {
        const result = accept(pin, server.prove(pin.fingerprint), server)
        assert.deepStrictEqual(Result.getOrThrow(result), server.pin())
      }
      pins.push(server.pin())
      // The recovery key vouches for nothing to those who have not heard of it when it speaks.
      if (round !== 6) pins.push(server.barePin())
    }
  })

  it("is followed over a thousand rotations, by one answer that fits a reply", () => {
    const server = makeServer()
    const pin = server.pin()
    for (let round = 0; round < 1000; round++) server.rotate()
    const proof = server.prove(pin.fingerprint)
    assert.lengthOf(proof.records, 1000)
    assert.isBelow(JSON.stringify(proof).length, 512 * 1024)
    const followed = verifyContinuity(continuityCrypto, pin, proof, server.session)
    assert.deepStrictEqual(Result.getOrThrow(followed), server.pin())
  })

  it("leads home who was led away by a stolen key, when the recovery key was pinned", () => {
    const server = makeServer()
    server.setRecovery(p256())
    const thief = server.fork()
    for (let round = 0; round < 5; round++) thief.rotate()
    const deceived = thief.pin()
    server.recover()
    server.rotate()
    const result = accept(deceived, server.prove(deceived.fingerprint), server)
    assert.deepStrictEqual(Result.getOrThrow(result), server.pin())
    // And whoever heard of the recovery is lost to the thief, whatever the thief signs.
    assert.match(reasonOf(server.pin(), thief.prove(server.pin().fingerprint), thief), /does not lead to its key/)
  })
})

const setUp = () => {
  const server = makeServer()
  server.setRecovery(p256())
  const pin = server.pin()
  for (let round = 0; round < 5; round++) server.rotate()
  return { server, pin, proof: server.prove(pin.fingerprint) }
}

describe("what is refused, by name", () => {
  it("public records replayed with another key (the original's flaw)", () => {
    const { pin, proof } = setUp()
    const attacker = makeServer()
    assert.match(reasonOf(pin, proof, attacker), /statement is about another key/)
    const own = attacker.prove(undefined)
    assert.match(reasonOf(pin, { ...proof, statement: own.statement }, attacker), /does not lead to its key/)
  })

  it("a proof that was made for another connection", () => {
    const { pin, proof, server } = setUp()
    const session = { ...server.session, exporter: server.session.exporter.toReversed() }
    assert.match(reasonOf(pin, proof, { session }), /not made for this connection/)
  })

  it("a key that the client has left, with all the records up to it", () => {
    const { pin, server } = setUp()
    const old = server.at(3)
    assert.match(reasonOf(server.pin(), old.prove(pin.fingerprint), old), /does not begin with the key before/)
    assert.match(reasonOf(server.pin(), old.prove(undefined), old), /does not lead to its key/)
  })

  it("a chain of another server, also one that was led by the same hand", () => {
    const { pin } = setUp()
    const other = makeServer()
    other.rotate()
    assert.match(reasonOf(pin, other.prove(pin.fingerprint), other), /does not lead to its key/)
    const { serverId: _, ...rest } = pin.standing ?? assert.fail()
    const elsewhere = { ...pin, standing: { ...rest, serverId: "00".repeat(16) } }
    const { proof, server } = setUp()
    assert.match(reasonOf(elsewhere, proof, server), /does not begin with the key before|another server/)
  })

  it("a jump by a recovery key that was not pinned, or where none was", () => {
    const server = makeServer()
    const bare = server.pin()
    server.setRecovery(p256())
    const pin = server.pin()
    const thief = server.fork()
    thief.setRecovery(p256())
    thief.recover()
    assert.match(reasonOf(pin, thief.prove(pin.fingerprint), thief), /another recovery key/)
    assert.match(reasonOf(bare, thief.prove(pin.fingerprint), thief), /no recovery key is pinned/)
  })

  it("a new recovery key that only the live key vouches for", () => {
    const { pin, server } = setUp()
    const thief = server.fork()
    thief.setRecovery(p256())
    assert.match(reasonOf(server.pin(), thief.prove(undefined), thief), /names another recovery key/)
    thief.rotate()
    assert.match(reasonOf(pin, thief.prove(pin.fingerprint), thief), /only the recovery key/)
  })

  it("records that the right key has signed, but that do not follow", () => {
    const lies: ReadonlyArray<readonly [Partial<ContinuityRecord>, RegExp]> = [
      [{ serverId: "00".repeat(16) }, /another server/],
      [{ notBefore: 2 }, /older than the one before/],
      [{ notBefore: 1000 }, /from the future/],
      [{ sequence: 7 }, /sequence does not follow/],
      [{ sequence: 5 }, /sequence does not follow/],
      [{ generation: 1 }, /generation does not follow/],
      [{ recovery: undefined }, /only the recovery key/],
      [{ oldKey: hash(spkiOf(p256())) }, /does not begin with the key before/],
      [{ newKey: spkiOf(p256()) }, /does not lead to its key/],
      [{ kind: "first", reason: "first", oldKey: undefined }, /a first key follows no other/],
      [{ kind: "recovery", signer: spkiOf(p256()), generation: 1 }, /another recovery key/]
    ]
    for (const [lie, reason] of lies) {
      const { pin, server } = setUp()
      server.rotate(lie)
      assert.match(reasonOf(pin, server.prove(pin.fingerprint), server), reason, JSON.stringify(lie))
    }
  })

  it("statements that the right key has signed, but that contradict what is known", () => {
    const { pin, server } = setUp()
    const lies: ReadonlyArray<readonly [Partial<SessionStatement>, RegExp]> = [
      [{ serverId: "00".repeat(16) }, /contradicts/],
      [{ generation: 1 }, /contradicts/],
      [{ sequence: 6 }, /contradicts/],
      [{ time: 1 }, /from the future/],
      [{ recovery: undefined }, /names another recovery key/],
      [{ key: pin.fingerprint }, /about another key/]
    ]
    for (const [lie, reason] of lies) {
      for (const from of [pin, server.pin()]) {
        if (lie.time !== undefined && from !== pin) continue
        assert.match(reasonOf(from, server.prove(from.fingerprint, lie), server), reason, JSON.stringify(lie))
      }
    }
  })

  it("a chain that begins with a key that is not the pinned one", () => {
    const { pin, server } = setUp()
    const other = makeServer()
    other.rotate({ oldKey: pin.fingerprint })
    const { pinned_key = "" } = other.prove(other.at(0).pin().fingerprint)
    const forged = { ...other.prove(undefined), pinned_key, records: other.records }
    assert.match(reasonOf({ ...pin, standing: undefined }, forged, other), /pinned key was not shown/)
    const { pinned_key: _, ...hidden } = server.prove(pin.fingerprint)
    assert.match(reasonOf(pin, hidden, server), /pinned key was not shown/)
  })

  it("a jump that is older than the last one that was followed", () => {
    const server = makeServer()
    server.setRecovery(p256())
    server.recover()
    const first = server.fork()
    server.recover()
    const pin = server.pin()
    assert.match(reasonOf(pin, { ...first.prove(undefined), records: first.records }, first), /generation/)
  })

  it("more records than a client follows", () => {
    const { pin, proof, server } = setUp()
    const [record = ""] = proof.records
    const records = Array.from({ length: MAX_CONTINUITY_RECORDS + 1 }, () => record)
    assert.match(reasonOf(pin, { ...proof, records }, server), /too long/)
  })
})

const flip = (text: string, at: number, bit: number): string => {
  const bytes = fromText(text) ?? assert.fail()
  const index = at % bytes.length
  return toText(bytes.with(index, (bytes[index] ?? 0) ^ (1 << bit)))
}

describe("100,000 dishonest chains", () => {
  // Two servers and a thief of one of the keys, all that they ever signed, and one session of each: an attacker may
  // combine and change all of it. What he may not do is sign with a key that is not his.
  const server = makeServer()
  const early = server.barePin()
  server.setRecovery(p256())
  const pins: Array<Pin> = [early, server.pin()]
  for (let round = 0; round < 6; round++) {
    if (round === 4) server.recover()
    else server.rotate()
    pins.push(server.pin(), server.barePin())
  }
  const other = makeServer()
  for (let round = 0; round < 4; round++) other.rotate()
  const attacker = makeServer()
  for (let round = 0; round < 4; round++) attacker.rotate()

  const parties = [server, other, attacker]
  const statements = parties.map((party) => party.prove(undefined).statement)
  const records = parties.flatMap((party) => party.records)
  const keys = parties.flatMap((party) => party.keys.map((key: KeyObject) => toText(spkiOf(key))))

  /** Signed anew by the attacker, as if it were his. */
  const forge = (text: string, change: (record: ContinuityRecord) => ContinuityRecord): string => {
    const record = decodeRecord(splitSigned(fromText(text) ?? assert.fail()).content) ?? assert.fail()
    const bytes = encodeRecord(change(record))
    return toText(concat(bytes, sign(attacker.keys.at(-1) ?? assert.fail(), recordMessage(bytes))))
  }
  const liveKey = attacker.session.key
  const forged = records.flatMap((record) => [
    forge(record, (same) => same),
    forge(record, (record) => ({ ...record, newKey: liveKey })),
    forge(record, (record) => ({ ...record, newKey: liveKey, sequence: record.sequence + 1 })),
    forge(
      record,
      (record) => record.kind === "first" ? record : { ...record, kind: "recovery", signer: liveKey, newKey: liveKey }
    )
  ])

  const anyText = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...records) },
    { weight: 2, arbitrary: fc.constantFrom(...forged) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom(...records), fc.nat(), fc.nat(7)).map((at) => flip(...at)) }
  )

  /** What an attacker does to an honest chain. */
  const tamper = (honest: ReadonlyArray<string>): fc.Arbitrary<ReadonlyArray<string>> => {
    const index = fc.nat(Math.max(0, honest.length - 1))
    return fc.oneof(
      fc.shuffledSubarray([...honest]),
      fc.tuple(index, index).map(([from, to]) => honest.slice(Math.min(from, to), Math.max(from, to))),
      fc.tuple(index, anyText).map(([at, text]) => honest.toSpliced(at, 1, text)),
      fc.tuple(index, anyText).map(([at, text]) => honest.toSpliced(at, 0, text)),
      fc.tuple(index, fc.nat(), fc.nat(7)).map(([at, byte, bit]) =>
        honest.length === 0 ? honest : honest.with(at, flip(honest[at] ?? "", byte, bit))
      ),
      fc.tuple(index, fc.array(anyText, { maxLength: 4 })).map(([at, rest]) => honest.slice(0, at).concat(rest)),
      fc.array(anyText, { maxLength: 8 })
    )
  }

  const anyStatement = fc.oneof(
    fc.constantFrom(...statements),
    fc.tuple(fc.constantFrom(...statements), fc.nat(), fc.nat(7)).map((at) => flip(...at))
  )

  const attacksOn = (pin: Pin) => {
    const honest = server.prove(pin.fingerprint)
    return fc.constantFrom(attacker, attacker, server).chain((session) =>
      fc.record({
        pin: fc.constant(pin),
        honest: fc.constant(honest),
        session: fc.constant(session),
        statement: fc.oneof(
          { weight: 8, arbitrary: fc.constant(statements[parties.indexOf(session)] ?? "") },
          { weight: 1, arbitrary: anyStatement }
        ),
        pinned_key: fc.oneof(
          { weight: 8, arbitrary: fc.constant(honest.pinned_key ?? keys[0] ?? "") },
          { weight: 1, arbitrary: fc.constantFrom(...keys) }
        ),
        records: tamper(honest.records)
      })
    )
  }

  it("0 are accepted", () => {
    let attacks = 0
    const lines = new Set<string>()
    fc.assert(
      fc.property(fc.oneof(...pins.map(attacksOn)), ({ honest, pin, session, ...proof }) => {
        const result = accept(pin, proof, session)
        if (Result.isFailure(result)) {
          attacks++
          lines.add(result.failure.replace(/\d+/, "n"))
          return
        }
        // The honest chain, or a shorter way that the recovery key vouches for: from the pin to the server's own key.
        assert.strictEqual(session, server)
        assert.strictEqual(proof.statement, statements[0])
        assert.deepStrictEqual(result.success, server.pin())
        assert.isTrue(honest.records.join().endsWith(proof.records.join()))
      }),
      { numRuns: 100_000 }
    )
    assert.isAbove(attacks, 90_000)
    // Every reason to refuse that there is was met.
    assert.isAtLeast(lines.size, 12, [...lines].join("\n"))
  }, 60_000)
})
