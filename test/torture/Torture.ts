/**
 * The whole program under force: clients in processes of their own work on a real server, which is killed at random
 * moments and started again, as are clients and PostgreSQL, while the server gives back space all the time. After each
 * of these points it is looked at what is there.
 *
 * What is done follows from the seed; when exactly a process dies is up to the machine.
 */
import { Data, Effect } from "effect"
import { existsSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Program from "../support/Program.ts"
import { Random } from "../support/Random.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Crew } from "./Crew.ts"
import { Sweeps } from "./Sweeps.ts"
import { lookAt, type Looked, segmentsIn } from "./Tables.ts"
import { User } from "./User.ts"

const USERS = 16
const CREWS = 4

/** Of each user in turn, every version of every file is read once in so many points. */
const EVERYTHING_EVERY = 8

/** The tables are looked at so often, after the kill and before the next start, and `fip admin fsck` is run. */
const TABLES_EVERY = 10
const FSCK_EVERY = 20

/** Space is given back without a pause, and little is kept that could not be. */
const SETTINGS = {
  FIP_SWEEP_EVERY: "100 millis",
  FIP_KEEP_VERSIONS: "2",
  FIP_KEEP_DELETED_FOR: "500 millis",
  FIP_UPLOAD_LIFETIME: "10 minutes"
}

export interface TortureOptions {
  readonly points: number
  /** No point begins later than so many minutes after the first. */
  readonly minutes?: number | undefined
  readonly seed: number
  readonly database: "embedded" | "postgres"
  /** Where everything is kept, and stays; in a folder that is removed unless given. */
  readonly folder?: string | undefined
  /** Told of each point that was passed. */
  readonly onPoint: (figures: Figures) => void
}

export interface Figures {
  /** Points that were passed. */
  readonly points: number
  readonly serverKills: number
  readonly clientKills: number
  readonly databaseKills: number
  /** Changes that were acknowledged; all of them are there. */
  readonly acknowledged: number
  /** Changes that were not answered; how many of them were carried out all the same, whole. */
  readonly unanswered: number
  readonly carriedOut: number
  /** Uploads that were continued after a kill; how many of them had been committed before it. */
  readonly resumed: number
  readonly resumedCommitted: number
  /** Looks for space to give back that were begun; those that a kill found under way; what was given back. */
  readonly sweeps: number
  readonly sweepsCutOff: number
  readonly segmentsCompacted: number
  readonly segmentsRemoved: number
  readonly bytesRemoved: number
  /** How often `fip admin fsck` found nothing wrong. */
  readonly fscks: number
}

class Torture {
  private readonly options: TortureOptions
  private readonly folder: string
  private readonly postgres: TestPostgres.Server | undefined
  private readonly random: Random
  private server: Program.ServerProcess | undefined
  private port = 0
  private users: ReadonlyArray<User> = []
  private readonly crews: Array<Crew> = []
  private readonly kills = { server: 0, client: 0, database: 0 }
  private readonly sweeps = new Sweeps()
  private points = 0
  private fscks = 0

  constructor(options: TortureOptions, folder: string, postgres: TestPostgres.Server | undefined) {
    this.options = options
    this.folder = folder
    this.postgres = postgres
    this.random = new Random(options.seed)
  }

  private get dataDir(): string {
    return join(this.folder, "data")
  }

  private get knownHosts(): string {
    return join(this.folder, "known_hosts")
  }

  private get env(): NodeJS.ProcessEnv {
    return {
      // Saves what Node would compile anew at each start.
      NODE_COMPILE_CACHE: join(this.folder, "compiled"),
      // Where clients note what they need to go on with a transfer.
      XDG_STATE_HOME: join(this.folder, "state")
    }
  }

  get figures(): Figures {
    const sum = (of: (user: User) => number) => this.users.reduce((total, user) => total + of(user), 0)
    const { begun, compacted, cutOff, removed, removedBytes } = this.sweeps
    return {
      points: this.points,
      serverKills: this.kills.server,
      clientKills: this.kills.client,
      databaseKills: this.kills.database,
      acknowledged: sum((user) => user.acknowledged),
      unanswered: sum((user) => user.open),
      carriedOut: sum((user) => user.carriedOut),
      resumed: sum((user) => user.resumed),
      resumedCommitted: sum((user) => user.resumedCommitted),
      sweeps: begun,
      sweepsCutOff: cutOff,
      segmentsCompacted: compacted,
      segmentsRemoved: removed,
      bytesRemoved: removedBytes,
      fscks: this.fscks
    }
  }

  private async startServer(): Promise<void> {
    const database = this.postgres === undefined ? [] : ["--database-url", this.postgres.url]
    this.server = await Program.serve(
      [String(this.port), "--data-dir", this.dataDir, "--log-level", "debug", "--log-format", "json", ...database],
      { env: { ...this.env, ...SETTINGS } }
    )
    this.port = this.server.port
    this.sweeps.follow(this.server.child.stderr)
  }

  private async startCrew(index: number): Promise<void> {
    const users = this.users.filter((_, at) => at % CREWS === index).map((user) => user.name)
    this.crews[index] = await Crew.start(this.port, this.knownHosts, this.folder, users, this.env)
  }

  /** Somebody who tidies up temporary folders makes stored content go missing, too. */
  private get mark(): string {
    return join(this.dataDir, "torture")
  }

  get wasRemoved(): boolean {
    return this.points > 0 && !existsSync(this.mark)
  }

  private async prepare(): Promise<void> {
    await mkdir(this.dataDir)
    await writeFile(this.mark, "")
    if (this.postgres === undefined) await TestDatabase.seedDataDir(this.dataDir)
    await this.startServer()
    this.users = Array.from(
      { length: USERS },
      (_, at) => new User(`user${at}`, this.random.split(), this.port, this.knownHosts)
    )
    for (const user of this.users) await user.register()
    await Promise.all(Array.from({ length: CREWS }, (_, index) => this.startCrew(index)))
  }

  /** Everybody works, until something is killed and nobody is left whose changes are acknowledged. */
  private async work(): Promise<void> {
    const { random } = this
    const { kill, victims } = this.choose()
    let left = 1 + random.below(60)
    const crewDies = random.chance(0.1) ? { index: random.below(CREWS), at: random.below(left) } : undefined
    let killing: Promise<unknown> | undefined
    const isOver = () => killing !== undefined
    const passed = () => {
      left--
      if (crewDies?.at === left) {
        this.kills.client++
        void this.crews[crewDies.index]?.kill()
      }
      // Not as an answer arrives only, but also in the middle of things.
      const patience = random.below(25)
      if (left <= 0) {
        killing ??= new Promise((resolve) => {
          setTimeout(resolve, patience)
        }).then(kill)
        // Its failure is told to whoever waits for it, below.
        killing.catch(() => {})
      }
    }
    await Promise.all(this.users.map(async (user, at) => {
      const crew = this.crews[at % CREWS]
      while (!isOver() && await this.act(user, crew)) passed()
    }))
    // Everybody may have stopped with a crew that died, or with PostgreSQL: then it is time.
    await (killing ?? kill())
    if (!victims.server) return
    if (this.isTimeFor(TABLES_EVERY)) await this.look()
    await this.startServer()
  }

  /** One change; false when it was not answered. */
  private async act(user: User, crew: Crew | undefined): Promise<boolean> {
    if (crew?.isAlive !== true) return false
    const order = user.next()
    return user.take(order, await crew.do(order, user.begun))
  }

  /** What is killed this time, the server most of the time. */
  private choose() {
    const { postgres, random } = this
    const victims = postgres === undefined
      ? { server: true, database: false }
      : random.pick([{ server: true, database: false }, { server: true, database: true }, {
        server: false,
        database: true
      }])
    const kill = async () => {
      await Promise.all([
        victims.server ? this.killServer() : undefined,
        victims.database ? this.killDatabase() : undefined
      ])
      if (victims.database) await postgres?.start()
    }
    return { victims, kill }
  }

  private async killServer(): Promise<void> {
    this.kills.server++
    await this.server?.stop("SIGKILL")
    this.server = undefined
  }

  private async killDatabase(): Promise<void> {
    this.kills.database++
    await this.postgres?.kill()
  }

  private isTimeFor(every: number): boolean {
    return (this.points + 1) % every === 0
  }

  private async verify(): Promise<void> {
    await Promise.all(this.crews.map((crew, index) => crew.isAlive ? undefined : this.startCrew(index)))
    await Promise.all(
      this.users.map((user, at) => user.verify((at + this.points) % EVERYTHING_EVERY === 0))
    )
    if (this.isTimeFor(FSCK_EVERY)) await this.fsck()
  }

  /** Looks at the tables, which no server uses meanwhile. */
  private async look(): Promise<Looked> {
    const looked = await lookAt(this.dataDir, this.postgres?.url, join(this.folder, "copy"))
    if (looked.complaints.length > 0) throw new Error(looked.complaints.join("\n"))
    return looked
  }

  private async fsck(): Promise<void> {
    const { status, stderr, stdout } = await Program.run(["admin", "fsck", "--data-dir", this.dataDir], {
      env: this.env
    })
    if (status !== 0) throw new Error(`fip admin fsck ended with ${status}: ${stdout}${stderr}`)
    this.fscks++
  }

  /** Everything of everybody, and whether all is given back that nothing needs. */
  private async finish(): Promise<void> {
    await Promise.all(this.users.map((user) => user.verify(true)))
    await this.fsck()
    const before = await segmentsIn(this.dataDir)
    await this.server?.stop()
    await this.startServer()
    await this.sweeps.settled(100)
    await this.server?.stop()
    const { needed } = await this.look()
    const leaked = [...(await segmentsIn(this.dataDir)).keys()].filter((one) => before.has(one) && !needed.has(one))
    if (leaked.length > 0) throw new Error(`nothing needs these segments, and they are there: ${leaked.join(", ")}`)
  }

  async run(): Promise<Figures> {
    await this.prepare()
    const { minutes = Infinity, points } = this.options
    const end = Date.now() + minutes * 60_000
    while (this.points < points && Date.now() < end) {
      await this.work()
      await this.verify()
      this.points++
      this.options.onPoint(this.figures)
    }
    await this.finish()
    return this.figures
  }

  async end(): Promise<void> {
    await Promise.all(this.crews.map((crew) => crew.kill()))
    await Promise.all(this.users.map((user) => user.close()))
    await this.server?.stop("SIGKILL")
  }
}

/** Something that the server promises was not so. */
export class PromiseBroken extends Data.TaggedError("PromiseBroken")<{
  readonly message: string
  readonly cause: unknown
}> {}

/** Fails with what was not as it must be. */
export const torture = Effect.fnUntraced(function*(options: TortureOptions) {
  const folder = options.folder ?? (yield* temporaryFolder)
  const postgres = options.database === "postgres" ? yield* TestPostgres.restartable : undefined
  const subject = yield* Effect.acquireRelease(
    Effect.sync(() => new Torture(options, folder, postgres)),
    (subject) => Effect.promise(() => subject.end())
  )
  return yield* Effect.tryPromise({
    try: () => subject.run(),
    catch: (cause) => {
      const message = cause instanceof Error ? cause.message : String(cause)
      return new PromiseBroken({
        message: subject.wasRemoved ? `the folder of the run was removed while it ran: ${message}` : message,
        cause
      })
    }
  })
}, Effect.scoped)
