/**
 * Guessing: who may try a password now, decided before a password is hashed.
 *
 * Wrong guesses are counted per account and per address, in the database; past a few, each makes the next wait twice as
 * long. A device that has logged in to the account before has a count of its own and is held to no other, so whatever
 * strangers do, its owner gets in. Guesses at one account take turns, so that no burst outruns the count.
 *
 * Wrong password, unknown user, banned and locked out are one refusal, which takes one time.
 */
import { Clock, Context, Duration, Effect, Layer, Option, Schedule } from "effect"
import { randomBytes } from "node:crypto"
import type { Username } from "../protocol/Identity.ts"
import { Refusal, refuse } from "../protocol/Refusal.ts"
import { type Activity, RecordActivity } from "./activity/Activity.ts"
import { addressKey } from "./guard/addressKey.ts"
import { type Guesses, GuessRepo } from "./guard/GuessRepo.ts"
import { Typical } from "./guard/Typical.ts"
import { ServerConfig } from "./ServerConfig.ts"
import { background } from "./ShutdownCoordinator.ts"
import { type Lane, PasswordHasher } from "./users/PasswordHasher.ts"
import { makeGuessTurns, Places } from "./workers/Places.ts"

/** One try of a password. */
export interface Guess {
  readonly username: Username
  readonly address: string
  /** What the account knows the caller by: its device, or its session. `undefined` for a stranger. */
  readonly known: string | undefined
}

const SWEEP_EVERY = "1 day"

const wrong = refuse(
  "2:auth",
  "wrong user name or password (after several wrong ones, wait before you try again)"
)

const tooMany = (what: string, millis: number): Refusal =>
  new Refusal({
    code: "2:rlex",
    message: `${what}: try again in ${Math.ceil(millis / 1000)} s`,
    retry_after_ms: Math.ceil(millis)
  })

const accountBucket = (username: Username): string => `account ${username.toLowerCase()}`

const refused = (
  { address, username }: Guess,
  reason: "wrong" | "locked out",
  millis: number
): Activity => ({
  action: "Login",
  code: "2:auth",
  says: "login refused",
  username,
  // A flood must not fill the log: what is refused unread says nothing new, from wherever it comes.
  address: reason === "wrong" ? address : "",
  durationMillis: Math.round(millis),
  suspicious: false,
  notable: reason === "wrong",
  detail: { reason }
})

export class Guard extends Context.Service<Guard, {
  /**
   * Runs `check`, which gives `undefined` when the password was wrong, if it is allowed to now. `2:auth` when it was
   * wrong, or when too many were wrong before; `2:rlex` when the address, or the known device, has to wait.
   */
  readonly guess: <A>(
    guess: Guess,
    check: (lane: Lane) => Effect.Effect<A | undefined, Refusal>
  ) => Effect.Effect<A, Refusal>
  /** Counts a registration; `2:rlex` when there were too many from this address. */
  readonly registration: (address: string) => Effect.Effect<void, Refusal>
  /** Forgets the wrong guesses of strangers at an account. */
  readonly forgive: (username: Username) => Effect.Effect<void, Refusal>
}>()("fip/server/Guard") {
  static readonly layerNoDeps = Layer.effect(
    Guard,
    Effect.gen(function*() {
      const config = yield* ServerConfig
      const repo = yield* GuessRepo
      const hasher = yield* PasswordHasher
      const base = () => Duration.toMillis(config.guessDelay)
      const longest = () => Duration.toMillis(config.guessDelayMax)
      const forgottenAt = (now: number) => new Date(now - Duration.toMillis(config.guessMemory))
      const { accounts, addresses } = (yield* Places)?.turns ?? makeGuessTurns()
      const typical = new Typical()
      const record = yield* RecordActivity

      const millisNow = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1e6)
      /** How long the next guess has to wait. A clock that was set back makes nobody wait longer than the delay. */
      const waitOf = ({ failed_at, failures }: Guesses, free: number, now: number): number => {
        if (failures < free) return 0
        const delay = Math.min(longest(), base() * 2 ** Math.min(failures - free, 40))
        return Math.max(0, Math.min(delay, failed_at.getTime() + delay - now))
      }

      const find = (buckets: ReadonlyArray<string>, now: number) => repo.find(buckets, forgottenAt(now))
      const count = (buckets: ReadonlyArray<string>, now: number) =>
        repo.count(buckets, new Date(now), forgottenAt(now))

      const noteLocked = ({ address, username }: Guess, counted: ReadonlyArray<Guesses>): void => {
        const own = counted.find(({ bucket }) => bucket === accountBucket(username))
        if (own?.failures !== config.accountGuesses) return
        record({
          action: "Guessing",
          code: "2:auth",
          says: "many wrong passwords for one account: strangers have to wait",
          username,
          address,
          durationMillis: 0,
          suspicious: true,
          notable: true,
          detail: { failures: own.failures }
        })
      }

      /** Hashing that counts; `undefined` when the password was wrong. */
      const tried = Effect.fnUntraced(function*<A>(
        guess: Guess,
        lane: Lane,
        buckets: ReadonlyArray<string>,
        found: ReadonlyArray<Guesses>,
        check: (lane: Lane) => Effect.Effect<A | undefined, Refusal>
      ) {
        const before = yield* millisNow
        const value = yield* check(lane)
        if (value === undefined) {
          record(refused(guess, "wrong", (yield* millisNow) - before))
          noteLocked(guess, yield* count(buckets, yield* Clock.currentTimeMillis))
          return undefined
        }
        // An address that belongs to a guesser too is not cleared by an account of his own.
        const [own = ""] = buckets
        if (found.some(({ bucket }) => bucket === own)) yield* repo.clear(own)
        return value
      })

      const device = <A>(
        guess: Guess,
        known: string,
        check: (lane: Lane) => Effect.Effect<A | undefined, Refusal>
      ): Effect.Effect<A, Refusal> => {
        const bucket = `known ${guess.username.toLowerCase()} ${known}`
        const turn = Effect.gen(function*() {
          const now = yield* Clock.currentTimeMillis
          const found = yield* find([bucket], now)
          const wait = Math.max(0, ...found.map((one) => waitOf(one, config.deviceGuesses, now)))
          if (wait > 0) return yield* tooMany("too many wrong passwords from this device", wait)
          return yield* tried(guess, "known", [bucket], found, check)
        })
        return Effect.flatMap(accounts.take(bucket, turn), (done) => {
          if (Option.isNone(done)) {
            return Effect.fail(tooMany("too many logins of this device at the same time", base()))
          }
          return done.value === undefined ? Effect.fail(wrong) : Effect.succeed(done.value)
        })
      }

      const stranger = Effect.fnUntraced(function*<A>(
        guess: Guess,
        check: (lane: Lane) => Effect.Effect<A | undefined, Refusal>
      ): Effect.fn.Return<A, Refusal> {
        const account = accountBucket(guess.username)
        const address = `address ${addressKey(guess.address)}`
        let started = yield* millisNow
        const turn = Effect.gen(function*() {
          // Waiting for one's turn is not what a wrong password takes.
          started = yield* millisNow
          const now = yield* Clock.currentTimeMillis
          const found = yield* find([account, address], now)
          const wait = (bucket: string, free: number): number =>
            Math.max(0, ...found.filter((one) => one.bucket === bucket).map((one) => waitOf(one, free, now)))
          const addressWait = wait(address, config.addressGuesses)
          if (addressWait > 0) return yield* tooMany("too many wrong passwords from your address", addressWait)
          if (wait(account, config.accountGuesses) > 0) return "locked" as const
          const value = yield* tried(guess, "stranger", [account, address], found, check)
          const ended = yield* millisNow
          if (value === undefined) typical.add(ended - started, ended)
          return { value }
        })
        const done = yield* accounts.take(account, addresses.take(address, turn))
        if (Option.isSome(done) && Option.isNone(done.value)) {
          return yield* tooMany("too many logins from your address at the same time", base())
        }
        const outcome = Option.getOrElse(Option.flatten(done), () => "locked" as const)
        if (outcome === "locked") {
          const now = yield* millisNow
          const rest = typical.draw(now) - (now - started)
          if (rest > 0) yield* Effect.sleep(Duration.millis(rest))
          record(refused(guess, "locked out", (yield* millisNow) - started))
          return yield* wrong
        }
        return outcome.value ?? (yield* wrong)
      })

      const before = yield* millisNow
      yield* hasher.verify(randomBytes(16).toString("hex"), undefined, "stranger")
      const after = yield* millisNow
      typical.add(after - before, after)

      yield* background(
        "sweep of guesses",
        Clock.currentTimeMillis.pipe(
          Effect.flatMap((now) => repo.sweep(forgottenAt(now))),
          Effect.catch((error) => Effect.logWarning("old guesses could not be swept", error)),
          Effect.repeat(Schedule.spaced(SWEEP_EVERY))
        )
      )

      return Guard.of({
        guess: (guess, check) => guess.known === undefined ? stranger(guess, check) : device(guess, guess.known, check),
        registration: Effect.fnUntraced(function*(address) {
          const bucket = `registration ${addressKey(address)}`
          const done = yield* addresses.take(
            bucket,
            Effect.gen(function*() {
              const now = yield* Clock.currentTimeMillis
              const [found] = yield* find([bucket], now)
              const wait = found === undefined ? 0 : waitOf(found, config.addressRegistrations, now)
              if (wait > 0) return yield* tooMany("too many registrations from your address", wait)
              yield* count([bucket], now)
            })
          )
          if (Option.isNone(done)) return yield* tooMany("too many registrations from your address", base())
        }),
        forgive: (username) => repo.clear(accountBucket(username))
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(GuessRepo.layer))
}
