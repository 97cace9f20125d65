/**
 * Who may be connected: decided when TCP accepts, before anything is spent on TLS.
 *
 * A connection is a *guest* until somebody has proven an account on it. Guests are few: an address (an IPv6 network of
 * 64 bits) has at most so many, and so have all together. Past a quarter of the latter a newcomer pushes one out with a
 * probability that grows to one: of two drawn at random the one whose address has more of them. So whoever fills the
 * server with connections that never log in mostly pushes out their own, and somebody who logs in at once gets through.
 *
 * New connections of an address cost tokens, and those that do harm cost more. Plain state, no I/O.
 */
import { addressKey } from "../guard/addressKey.ts"
import { Buckets } from "./Buckets.ts"

export interface DoorLimits {
  readonly connectionsPerAddress: number
  /** New connections of one address a second, for long; for a while it may be `BURST_SECONDS` times as many at once. */
  readonly connectionRate: number
  readonly maxGuests: number
  readonly guestsPerAddress: number
}

/** A connection that was let in. */
export interface Pass {
  /** Somebody has proven an account on it. */
  readonly welcome: () => void
  /** It has cost more than a connection should: a handshake that failed, a time limit, bytes that are no header. */
  readonly fault: () => void
  readonly leave: () => void
}

export const BURST_SECONDS = 20
const FAULT_COST = 5
/** Addresses that are remembered. */
const CAPACITY = 65_536
/** Early drop begins at this share of `maxGuests`, with this probability. */
const EARLY_SHARE = 0.25
const EARLY_RATE = 0.3

interface Address {
  connections: number
  guests: number
}

interface Visitor {
  readonly address: Address
  readonly shed: () => void
  /** Where it is among the guests; -1 once it is none. */
  place: number
}

export class Door {
  private readonly limits: DoorLimits
  private readonly random: () => number
  private readonly addresses = new Map<string, Address>()
  private readonly tokens: Buckets<string>
  private readonly guests: Array<Visitor> = []
  /** Connections that were turned away, and guests that were pushed out, since the start. */
  refused = 0
  shed = 0

  constructor(limits: DoorLimits, random: () => number = Math.random) {
    this.limits = limits
    this.random = random
    this.tokens = new Buckets({ rate: () => limits.connectionRate, burstSeconds: BURST_SECONDS, capacity: CAPACITY })
  }

  get guestCount(): number {
    return this.guests.length
  }

  /** `undefined` when the connection is to be closed unread. `shed` is called at most once, and may be called at once. */
  enter(peer: string, now: () => number, shed: () => void): Pass | undefined {
    const key = addressKey(peer)
    const address = this.addresses.get(key) ?? { connections: 0, guests: 0 }
    const { connectionsPerAddress, guestsPerAddress } = this.limits
    if (
      address.connections >= connectionsPerAddress || address.guests >= guestsPerAddress ||
      this.tokens.level(key, now()) < 1
    ) {
      this.refused++
      return undefined
    }
    this.tokens.take(key, 1, now())
    this.addresses.set(key, address)
    const visitor: Visitor = { address, shed, place: this.guests.length }
    address.connections++
    address.guests++
    this.guests.push(visitor)
    let here = true
    const pass: Pass = {
      welcome: () => this.dismiss(visitor),
      fault: () => {
        this.tokens.take(key, FAULT_COST, now())
      },
      leave: () => {
        if (!here) return
        here = false
        this.dismiss(visitor)
        if (--address.connections === 0) this.addresses.delete(key)
      }
    }
    if (this.random() < this.crowding) this.pushOut()
    return pass
  }

  sweep(now: number): void {
    this.tokens.sweep(now)
  }

  /** The probability with which a newcomer pushes somebody out. */
  private get crowding(): number {
    const { maxGuests } = this.limits
    const [count, start] = [this.guests.length, maxGuests * EARLY_SHARE]
    if (count > maxGuests) return 1
    return count <= start ? 0 : EARLY_RATE + (1 - EARLY_RATE) * (count - start) / (maxGuests - start)
  }

  private pushOut(): void {
    const one = this.draw()
    const other = this.draw()
    const victim = one !== undefined && other !== undefined && other.address.guests > one.address.guests ? other : one
    if (victim === undefined) return
    this.shed++
    this.dismiss(victim)
    victim.shed()
  }

  private draw(): Visitor | undefined {
    return this.guests[Math.floor(this.random() * this.guests.length)]
  }

  /** Takes a visitor out of the guests; the last one takes its place. */
  private dismiss(visitor: Visitor): void {
    const { place } = visitor
    if (place < 0) return
    visitor.place = -1
    visitor.address.guests--
    const last = this.guests.pop()
    if (last === undefined || last === visitor) return
    this.guests[place] = last
    last.place = place
  }
}
