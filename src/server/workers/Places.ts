/**
 * What only so many may do at the same time on the whole server: hash a password, try one for an account, try one from
 * an address. One process counts by itself; workers ask their parent, so that there are not as many places as workers.
 */
import { Context, Effect, Layer } from "effect"
import { makeTurns, type Turns } from "../guard/Turns.ts"
import { ServerConfig, type ServerSettings, workersOf } from "../ServerConfig.ts"
import { type Hashing, makeHashing } from "../users/Hashing.ts"

export type TurnsOf = "accounts" | "addresses"

export interface Places {
  readonly hashing: Hashing
  /** Guesses, by account or device, and by address. */
  readonly turns: { readonly [S in TurnsOf]: Turns }
}

/** Those that processes share; without them whoever needs some makes its own. */
export const Places = Context.Reference<Places | undefined>("fip/server/workers/Places", {
  defaultValue: () => undefined
})

/** Guesses of one account, and of one address, that wait for their turn. */
const WAITING = 32
const RUNNING_PER_ADDRESS = 8

export const makeGuessTurns = (): Places["turns"] => ({
  accounts: makeTurns({ running: 1, waiting: WAITING }),
  addresses: makeTurns({ running: RUNNING_PER_ADDRESS, waiting: WAITING })
})

export const makePlaces = (settings: ServerSettings): Places => ({
  hashing: makeHashing(settings),
  turns: makeGuessTurns()
})

/** Of a server that has workers: they and it have the same. */
export const placesLayer = Layer.unwrap(
  Effect.map(
    ServerConfig,
    (config) => workersOf(config) > 1 ? Layer.sync(Places, () => makePlaces(config)) : Layer.empty
  )
)
