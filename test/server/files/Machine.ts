/**
 * A machine that a file store runs on, whose power can go at any moment: a disk that loses what was not synced, and a
 * database in memory that keeps what was committed.
 *
 * A step is the beginning or the end of an operation of the disk, or of an exchange with the database. When the power
 * goes, nothing that the store does has an effect any more, and the database forgets the transaction that was open.
 */
import type { PGlite } from "@electric-sql/pglite"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Database } from "../../../src/server/Database.ts"
import { Disk } from "../../../src/server/files/Disk.ts"
import { Reclaimer } from "../../../src/server/files/Reclaimer.ts"
import { SegmentStore } from "../../../src/server/files/SegmentStore.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import type { ServerSettings } from "../../../src/server/ServerConfig.ts"
import type { Random } from "../../support/Random.ts"
import * as Storage from "./Storage.ts"
import { VolatileDisk, type VolatileDiskOptions } from "./VolatileDisk.ts"

const FOLDER = "/store"

export interface Life {
  readonly files: FileStore["Service"]
  readonly segments: SegmentStore["Service"]
  readonly reclaimer: Reclaimer["Service"]
  readonly sql: SqlClient
  /** Closes the store; as it would be closed, unless the power has gone. */
  readonly end: Effect.Effect<void>
}

export class Machine {
  readonly disk: VolatileDisk
  /** Steps that were done since the power came. */
  steps = 0
  isOff = false
  private cutAt = Number.MAX_SAFE_INTEGER
  private readonly engine: PGlite

  constructor(engine: PGlite, fault?: VolatileDiskOptions["fault"]) {
    this.engine = engine
    this.disk = new VolatileDisk(FOLDER, {
      onStep: () => this.step(),
      ...(fault === undefined ? {} : { fault })
    })
  }

  /** The power will go after so many steps more. */
  cutPowerAfter(steps: number): void {
    this.cutAt = this.steps + steps
  }

  cutPower(): void {
    this.isOff = true
    this.disk.cutPower()
  }

  restorePower(random: Random): void {
    this.disk.restorePower(random)
    this.isOff = false
    this.steps = 0
    this.cutAt = Number.MAX_SAFE_INTEGER
  }

  private step(): void {
    if (!this.isOff && ++this.steps >= this.cutAt) this.cutPower()
  }

  /** The engine as a store sees it that dies when the power goes. */
  private database(): PGlite {
    const exchange: PGlite["execProtocolRawStream"] = async (message, options) => {
      this.step()
      if (this.isOff) throw new Error("the power is gone")
      await this.engine.execProtocolRawStream(message, options)
      this.step()
      if (this.isOff) throw new Error("the power is gone")
    }
    return new Proxy(this.engine, {
      get: (engine, key) => {
        if (key === "execProtocolRawStream") return exchange
        const member: unknown = Reflect.get(engine, key)
        return typeof member === "function" ? member.bind(engine) : member
      }
    })
  }

  /** Starts a store. */
  readonly start = Effect.fnUntraced(function*(this: Machine, settings: Partial<ServerSettings> = {}) {
    const scope = yield* Scope.make()
    const services = yield* Layer.buildWithScope(
      Reclaimer.layer.pipe(
        Layer.provideMerge(Storage.layerIn(FOLDER, settings)),
        Layer.provideMerge(Database.layerEngine(this.database())),
        Layer.provide(Layer.succeed(Disk, this.disk.disk))
      ),
      scope
    )
    const life: Life = {
      files: Context.get(services, FileStore),
      segments: Context.get(services, SegmentStore),
      reclaimer: Context.get(services, Reclaimer),
      sql: Context.get(services, SqlClient),
      end: Scope.close(scope, Exit.void)
    }
    return life
  })
}
