/**
 * A server's keys and all that it signs, without a server: for tests that need many of them at once, or one whose keys
 * are in the wrong hands. It writes records by itself, so that the program's own way to make them is tested against it.
 */
import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto"
import { continuityCrypto, sign, spkiOf } from "../../src/platform/Signature.ts"
import {
  concat,
  type ContinuityRecord,
  encodeRecord,
  encodeStatement,
  fingerprintOf,
  recordMessage,
  type SessionStatement,
  statementMessage,
  toText
} from "../../src/protocol/Continuity.ts"
import type { ContinuityProof, Pin, Standing, TlsSession } from "../../src/protocol/ContinuityProof.ts"
import type { Fingerprint } from "../../src/protocol/Identity.ts"

export const p256 = (): KeyObject => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey

const hash = (key: KeyObject): Fingerprint => fingerprintOf(continuityCrypto, spkiOf(key))

interface State {
  readonly serverId: string
  readonly generation: number
  readonly recovery: KeyObject | undefined
  /** All keys: `keys[n]` has the sequence `n`. */
  readonly keys: ReadonlyArray<KeyObject>
  readonly next: KeyObject
  /** `records[n]` leads from `keys[n]` to `keys[n + 1]`. */
  readonly records: ReadonlyArray<string>
  readonly exporter: Uint8Array
}

export class TestIdentity {
  private state: State

  constructor(state: State) {
    this.state = state
  }

  get keys(): ReadonlyArray<KeyObject> {
    return this.state.keys
  }

  get records(): ReadonlyArray<string> {
    return this.state.records
  }

  private get live(): KeyObject {
    const live = this.keys.at(-1)
    if (live === undefined) throw new Error("a server has a key")
    return live
  }

  /** One TLS session with the live key. */
  get session(): TlsSession {
    return { key: spkiOf(this.live), exporter: this.state.exporter }
  }

  /** What a client knows that has just heard all. */
  pin(): Pin & { readonly standing: Standing } {
    const { generation, next, recovery, serverId } = this.state
    return {
      fingerprint: hash(this.live),
      standing: {
        serverId,
        generation,
        sequence: this.keys.length - 1,
        recovery: recovery === undefined ? undefined : hash(recovery),
        next: hash(next)
      }
    }
  }

  /** What a client knows that has seen the key and heard nothing. */
  barePin(): Pin {
    return { fingerprint: hash(this.live), standing: undefined }
  }

  /** With a statement that says other things than it should, where they are given. */
  prove(pinned: Fingerprint | undefined, lies: Partial<SessionStatement> = {}): ContinuityProof {
    const { fingerprint, standing } = this.pin()
    const statement = encodeStatement({ ...standing, time: this.keys.length, key: fingerprint, ...lies })
    const signed = sign(this.live, statementMessage(statement, this.state.exporter))
    const at = this.keys.findIndex((key) => hash(key) === pinned)
    const jump = this.records.findLastIndex((_, index) => this.jumps.has(index))
    const start = at >= 0 ? at : pinned === undefined || jump < 0 ? this.records.length : jump
    const before = this.keys[start]
    return {
      statement: toText(concat(statement, signed)),
      ...(at < 0 || before === undefined ? {} : { pinned_key: toText(spkiOf(before)) }),
      records: this.records.slice(start)
    }
  }

  private readonly jumps = new Set<number>()

  /** With a record that says other things than it should, where they are given. */
  rotate(lies: Partial<ContinuityRecord> = {}): void {
    this.append({ kind: "rotation", reason: "scheduled", signer: undefined, ...lies }, this.live)
  }

  /** Only a thief does it twice. */
  setRecovery(recovery: KeyObject): void {
    this.state = { ...this.state, recovery }
  }

  recover(): void {
    const { recovery } = this.state
    if (recovery === undefined) throw new Error("no recovery key")
    this.state = { ...this.state, generation: this.state.generation + 1 }
    this.jumps.add(this.records.length)
    this.append({ kind: "recovery", reason: "compromised", signer: spkiOf(recovery) }, recovery)
  }

  private append(
    rest: Partial<ContinuityRecord> & Pick<ContinuityRecord, "kind" | "reason" | "signer">,
    signer: KeyObject
  ): void {
    const { generation, keys, next, records, recovery, serverId } = this.state
    const bytes = encodeRecord({
      serverId,
      generation,
      sequence: keys.length,
      notBefore: keys.length,
      oldKey: hash(this.live),
      recovery: recovery === undefined ? undefined : hash(recovery),
      newKey: spkiOf(next),
      ...rest
    })
    this.state = {
      ...this.state,
      keys: [...keys, next],
      next: p256(),
      records: [...records, toText(concat(bytes, sign(signer, recordMessage(bytes))))]
    }
  }

  /** Somebody who has all the keys of this moment. */
  fork(): TestIdentity {
    const copy = new TestIdentity({ ...this.state, exporter: randomBytes(32), next: p256() })
    for (const jump of this.jumps) copy.jumps.add(jump)
    return copy
  }

  /** Somebody who has the keys up to one of them. */
  at(sequence: number): TestIdentity {
    const { keys, records } = this.state
    return new TestIdentity({
      ...this.state,
      keys: keys.slice(0, sequence + 1),
      records: records.slice(0, sequence),
      next: keys[sequence + 1] ?? p256(),
      exporter: randomBytes(32)
    })
  }
}

export const makeServer = (): TestIdentity =>
  new TestIdentity({
    serverId: randomBytes(16).toString("hex"),
    generation: 0,
    recovery: undefined,
    keys: [p256()],
    next: p256(),
    records: [],
    exporter: randomBytes(32)
  })
