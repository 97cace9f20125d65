/**
 * What a server is started with; `cli/serve.ts` fills it from flags, environment and config file.
 *
 * Those of `RELOADABLE` may change while the server runs: who uses one reads it from the service where it is used, and
 * keeps no copy.
 */
import { Context, Duration } from "effect"
import { join } from "node:path"

/** What an acknowledged change waits for: the disk (`full`), or the operating system (`os`). */
export type Durability = "full" | "os"

export interface ServerSettings {
  readonly host: string
  readonly port: number
  /** Processes that connections are spread over; `undefined`, or 1: this one serves them itself. */
  readonly workers: number | undefined
  readonly dataDir: string
  /** A PostgreSQL URL; `undefined` embeds PGlite in `dataDir`. */
  readonly databaseUrl: string | undefined
  /** Where the content of files is, and the server's identity; `undefined`: in `dataDir`. Servers may share them. */
  readonly segmentsDir: string | undefined
  readonly identityDir: string | undefined
  readonly durability: Durability
  readonly registration: "open" | "invite" | "closed"

  readonly bytesPerUser: number
  readonly filesPerUser: number

  readonly accessTokenLifetime: Duration.Duration
  readonly refreshLifetime: Duration.Duration
  /** How long a refresh digest that was just used still gets its successor again (a lost reply). */
  readonly refreshGrace: Duration.Duration
  /** Password hashes computed at the same time, and callers that may wait for one. */
  readonly passwordConcurrency: number
  readonly passwordQueue: number

  /** Wrong passwords in a row after which the next has to wait: for one account, one device it knows, one address. */
  readonly accountGuesses: number
  readonly deviceGuesses: number
  readonly addressGuesses: number
  /** Registrations of one address after which the next has to wait. */
  readonly addressRegistrations: number
  /** The first wait, doubled by each further one up to the longest; and how long without one until all is forgotten. */
  readonly guessDelay: Duration.Duration
  readonly guessDelayMax: Duration.Duration
  readonly guessMemory: Duration.Duration

  /** How long the server keeps a key; `undefined`: until it is rotated by hand. */
  readonly rotateEvery: Duration.Duration | undefined

  readonly maxConnections: number
  /** Of one address (an IPv6 network of 64 bits): connections, and new ones a second. */
  readonly connectionsPerAddress: number
  readonly connectionRate: number
  /** Connections on which nobody has logged in: all, and those of one address. */
  readonly maxGuests: number
  readonly guestsPerAddress: number
  /** How long a connection may be without a login, and what it may ask meanwhile. */
  readonly loginTimeout: Duration.Duration
  readonly guestRequests: number
  /** The message timeout before login. */
  readonly guestTimeout: Duration.Duration
  /** Of one user, on all connections: requests a second, and bytes in both directions (`undefined`: no limit). */
  readonly requestRate: number
  readonly byteRate: number | undefined
  readonly handshakeTimeout: Duration.Duration
  /** Between two requests. */
  readonly idleTimeout: Duration.Duration
  /** From the first byte of a message to its last, for each MiB of it. */
  readonly messageTimeout: Duration.Duration
  /** From the signal to the end, requests in flight included. */
  readonly shutdownDeadline: Duration.Duration

  /** FileBufferCache: for all users, for one user, open segments, and how long an unused one stays open. */
  readonly cacheBytes: number
  readonly cacheBytesPerUser: number
  readonly openSegments: number
  readonly cacheIdle: Duration.Duration

  /** An upload that nothing was added to for so long is dropped. */
  readonly uploadLifetime: Duration.Duration

  /** Versions of a file kept besides the current one, and for how long after they ceased to be it. */
  readonly keepVersions: number
  readonly keepVersionsFor: Duration.Duration
  /** How long a deleted file can be restored. */
  readonly keepDeletedFor: Duration.Duration
  /** How often what is not kept is dropped; space is given back ten times less often. */
  readonly sweepEvery: Duration.Duration
  /** Changes in the feed of a user that who watches can go back to: so many, and for so long. */
  readonly keepChanges: number
  readonly keepChangesFor: Duration.Duration

  /** Where `/metrics`, `/healthz` and `/readyz` are served; nowhere without a port. */
  readonly metricsPort: number | undefined
  readonly metricsHost: string

  /** How long the log of what people did is kept. */
  readonly activityKeptFor: Duration.Duration
  /** Requests of one user that are denied and listed there in a minute; more are counted. */
  readonly denialsPerMinute: number
  /** What is written in batches: after how long, from how many records on, and how many may wait. */
  readonly flushInterval: Duration.Duration
  readonly flushCount: number
  readonly flushQueue: number
}

export const defaults: Omit<ServerSettings, "dataDir"> = {
  host: "127.0.0.1",
  port: 6090,
  workers: undefined,
  databaseUrl: undefined,
  segmentsDir: undefined,
  identityDir: undefined,
  durability: "full",
  registration: "open",
  bytesPerUser: 10 * 1024 ** 3,
  filesPerUser: 100_000,
  accessTokenLifetime: Duration.minutes(15),
  refreshLifetime: Duration.days(30),
  refreshGrace: Duration.seconds(60),
  passwordConcurrency: 2,
  passwordQueue: 64,
  accountGuesses: 5,
  deviceGuesses: 10,
  addressGuesses: 20,
  addressRegistrations: 20,
  guessDelay: Duration.seconds(1),
  guessDelayMax: Duration.minutes(15),
  guessMemory: Duration.days(1),
  rotateEvery: undefined,
  maxConnections: 10_000,
  connectionsPerAddress: 1000,
  connectionRate: 50,
  maxGuests: 2000,
  guestsPerAddress: 500,
  loginTimeout: Duration.minutes(2),
  guestRequests: 1000,
  guestTimeout: Duration.seconds(10),
  requestRate: 10_000,
  byteRate: undefined,
  handshakeTimeout: Duration.seconds(5),
  idleTimeout: Duration.minutes(10),
  messageTimeout: Duration.seconds(30),
  shutdownDeadline: Duration.seconds(10),
  cacheBytes: 256 * 1024 ** 2,
  cacheBytesPerUser: 32 * 1024 ** 2,
  openSegments: 256,
  cacheIdle: Duration.seconds(60),
  uploadLifetime: Duration.days(7),
  keepVersions: 10,
  keepVersionsFor: Duration.days(30),
  keepDeletedFor: Duration.days(30),
  sweepEvery: Duration.minutes(1),
  keepChanges: 100_000,
  keepChangesFor: Duration.days(7),
  metricsPort: undefined,
  metricsHost: "127.0.0.1",
  activityKeptFor: Duration.days(90),
  denialsPerMinute: 600,
  flushInterval: Duration.seconds(1),
  flushCount: 500,
  flushQueue: 50_000
}

/** What a running server takes over at once, or for connections that are made from then on. */
export const RELOADABLE = [
  "registration",
  "bytesPerUser",
  "filesPerUser",
  "accountGuesses",
  "deviceGuesses",
  "addressGuesses",
  "addressRegistrations",
  "guessDelay",
  "guessDelayMax",
  "guessMemory",
  "maxConnections",
  "connectionsPerAddress",
  "connectionRate",
  "maxGuests",
  "guestsPerAddress",
  "loginTimeout",
  "guestRequests",
  "guestTimeout",
  "requestRate",
  "byteRate",
  "idleTimeout",
  "messageTimeout",
  "shutdownDeadline",
  "keepVersions",
  "keepVersionsFor",
  "keepDeletedFor",
  "activityKeptFor",
  "denialsPerMinute"
] as const satisfies ReadonlyArray<keyof ServerSettings>

export const segmentsDirOf = ({ dataDir, segmentsDir }: Pick<ServerSettings, "dataDir" | "segmentsDir">): string =>
  segmentsDir ?? join(dataDir, "segments")

export const identityDirOf = ({ dataDir, identityDir }: Pick<ServerSettings, "dataDir" | "identityDir">): string =>
  identityDir ?? join(dataDir, "identity")

type Spread = Pick<ServerSettings, "databaseUrl" | "workers">

export const workersOf = ({ workers }: Pick<ServerSettings, "workers">): number => workers ?? 1

/** Others may be on the same database: other servers on a PostgreSQL, or the workers of this one. */
export const isShared = (settings: Spread): boolean => settings.databaseUrl !== undefined || workersOf(settings) > 1

export class ServerConfig extends Context.Service<ServerConfig, ServerSettings>()("fip/server/ServerConfig") {}
