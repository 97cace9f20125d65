/** Who is let in, against what a list of everybody says. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Buckets } from "../../../src/server/connections/Buckets.ts"
import { BURST_SECONDS, Door, type Pass } from "../../../src/server/connections/Door.ts"
import { UserRate } from "../../../src/server/connections/UserRate.ts"

const still = () => 0
const wide = { connectionsPerAddress: 1000, connectionRate: 1000, maxGuests: 1000, guestsPerAddress: 1000 }

interface Someone {
  readonly address: string
  readonly pass: Pass
  isGuest: boolean
  isHere: boolean
}

describe("the door", () => {
  it("keeps every limit, and counts nobody twice or for ever, whatever comes and goes", () => {
    const limits = { connectionsPerAddress: 6, connectionRate: 1000, maxGuests: 8, guestsPerAddress: 4 }
    const act = fc.record({
      what: fc.constantFrom("enter" as const, "enter" as const, "welcome" as const, "leave" as const, "fault" as const),
      address: fc.integer({ min: 1, max: 4 }).map((n) => `192.0.2.${n}`),
      whom: fc.nat(),
      draw: fc.double({ min: 0, max: 0.999, noNaN: true })
    })
    fc.assert(fc.property(fc.array(act, { maxLength: 120 }), (acts) => {
      let draw = 0
      const door = new Door(limits, () => draw)
      const all: Array<Someone> = []
      const here = () => all.filter((one) => one.isHere)
      const guests = () => here().filter((one) => one.isGuest)
      for (const { address, draw: next, what, whom } of acts) {
        draw = next
        if (what === "enter") {
          const of = (list: ReadonlyArray<Someone>) => list.filter((one) => one.address === address).length
          const fits = of(here()) < limits.connectionsPerAddress && of(guests()) < limits.guestsPerAddress
          const before = guests().length
          let pushed = 0
          let self = false
          let someone: Someone | undefined
          const pass = door.enter(address, still, () => {
            pushed++
            if (someone === undefined) self = true
            else someone.isHere = someone.isGuest = false
            someone?.pass.leave()
          })
          assert.strictEqual(pass !== undefined, fits)
          if (pass === undefined) continue
          someone = { address, pass, isGuest: !self, isHere: !self }
          if (self) pass.leave()
          all.push(someone)
          assert.isAtMost(pushed, 1)
          if (before < limits.maxGuests / 4) assert.strictEqual(before + 1, guests().length)
        } else {
          const one = all[whom % Math.max(1, all.length)]
          if (one === undefined) continue
          one.pass[what]()
          if (what === "welcome") one.isGuest = false
          if (what === "leave") one.isHere = one.isGuest = false
        }
        assert.strictEqual(door.guestCount, guests().length)
        assert.isAtMost(guests().length, limits.maxGuests)
      }
      for (const { pass } of all) pass.leave()
      assert.strictEqual(door.guestCount, 0)
      // Nothing is left of anybody: everybody fits again.
      for (let i = 0; i < 2; i++) assert.isDefined(door.enter("192.0.2.1", still, () => {}))
    }))
  })

  it("takes an IPv6 network of 64 bits for one address, and IPv4 within IPv6 for itself", () => {
    const door = new Door({ ...wide, connectionsPerAddress: 1 })
    assert.isDefined(door.enter("2001:db8::1", still, () => {}))
    assert.isUndefined(door.enter("2001:db8:0:0:ffff::2", still, () => {}))
    assert.isDefined(door.enter("2001:db8:0:1::1", still, () => {}))
    assert.isDefined(door.enter("::ffff:192.0.2.1", still, () => {}))
    assert.isUndefined(door.enter("192.0.2.1", still, () => {}))
  })

  it("lets an address in as fast as the rate allows, and one that does harm less often", () => {
    const door = new Door({ ...wide, connectionRate: 10 })
    const burst = 10 * BURST_SECONDS
    const count = (seconds: number, fault: boolean): number => {
      let entered = 0
      for (let i = 0; i < 2 * burst; i++) {
        const pass = door.enter("192.0.2.1", () => seconds * 1000, () => {})
        if (pass === undefined) continue
        entered++
        if (fault) pass.fault()
        pass.leave()
      }
      return entered
    }
    assert.strictEqual(count(0, false), burst)
    assert.strictEqual(count(1, false), 10)
    assert.isBelow(count(1000, true), burst / 5)
    // What it did to others is nothing: another address is as welcome as before.
    assert.isDefined(door.enter("192.0.2.2", () => 1_000_000, () => {}))
  })

  it("pushes out those who fill it, and hardly ever somebody who comes alone and logs in at once", () => {
    const door = new Door({ ...wide, guestsPerAddress: 500 })
    const shed = { crowd: 0, alone: 0 }
    // Twenty addresses that together open five times as many connections as there may be guests, and never log in.
    for (let i = 0; i < 5000; i++) {
      door.enter(`198.51.100.${i % 20}`, still, () => shed.crowd++)
      if (i % 10 === 0) {
        const pass = door.enter(`203.0.113.${i % 250}`, still, () => shed.alone++)
        // 30 more of the crowd arrive while the handshake and the login run.
        for (let j = 0; j < 30; j++) door.enter(`198.51.100.${(i + j) % 20}`, still, () => shed.crowd++)
        pass?.welcome()
        pass?.leave()
      }
    }
    assert.isAtMost(door.guestCount, wide.maxGuests)
    assert.isAbove(shed.crowd, 3000)
    assert.isBelow(shed.alone, 5, "of 500 that came alone")
  })
})

describe("buckets", () => {
  it("hold what a bucket that is filled step by step holds", () => {
    const act = fc.record({ key: fc.nat(3), cost: fc.nat(30), millis: fc.integer({ min: -50, max: 500 }) })
    fc.assert(fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const buckets = new Buckets<number>({ rate: () => 100, burstSeconds: 0.4, capacity: 10 })
      const model = new Map<number, { tokens: number; at: number }>()
      let now = 1000
      for (const { cost, key, millis } of acts) {
        now += millis
        const filled = ({ at, tokens }: { tokens: number; at: number }) =>
          Math.min(40, tokens + Math.max(0, now - at) / 10)
        const tokens = filled(model.get(key) ?? { tokens: 40, at: now })
        assert.closeTo(buckets.level(key, now), tokens, 1e-6)
        const left = Math.max(-40, tokens - cost)
        model.set(key, { tokens: left, at: now })
        assert.closeTo(buckets.take(key, cost, now), left < 0 ? -left * 10 : 0, 1e-6)
        buckets.sweep(now)
        // What was full once stays so, although the clock may be set back to when it was not.
        for (const [key, bucket] of model) if (filled(bucket) >= 40) model.delete(key)
      }
      buckets.sweep(now + 1e9)
      assert.strictEqual(buckets.size, 0)
    }))
  })

  it("are never more than their capacity: the one used longest ago is forgotten", () => {
    const buckets = new Buckets<number>({ rate: () => 1, burstSeconds: 10, capacity: 3 })
    for (const key of [1, 2, 3, 1, 4]) buckets.take(key, 5, 0)
    assert.strictEqual(buckets.size, 3)
    assert.deepStrictEqual([1, 2, 3, 4].map((key) => buckets.level(key, 0)), [0, 10, 5, 5])
  })
})

describe("the rate of a user", () => {
  it("is held for requests and bytes apart, and lets pass what does not last", () => {
    const rate = new UserRate({ requestRate: 100, byteRate: 1000 })
    assert.strictEqual(rate.spend(1, 3000, 30_000, 0), 0)
    assert.strictEqual(rate.spend(1, 1, 0, 0), 10)
    assert.strictEqual(rate.spend(1, 0, 500, 0), 500)
    assert.strictEqual(rate.spend(2, 1, 1, 0), 0)
    assert.strictEqual(rate.spend(1, 0, 0, 10_000), 0)
    const unlimited = new UserRate({ requestRate: 100, byteRate: undefined })
    assert.strictEqual(unlimited.spend(1, 1, 1e12, 0), 0)
  })
})
