/**
 * What it costs that an acknowledged change is on disk: 64 clients' writes with `--durability full` and `os`, on both
 * databases; and what a small PATCH costs in small and large files, fresh and after many.
 *
 * Real servers and one client process with the library. The servers of a comparison run at the same time and are asked
 * in turns, so that whatever else the machine does meets all of them.
 */
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { readFile, rm } from "node:fs/promises"
import { join } from "node:path"
import { FipClient } from "../src/client/FipClient.ts"
import * as TestPostgres from "../test/support/TestPostgres.ts"
import { makeRandomFile } from "./data.ts"
import { type FipProcess, PASSWORD, startFip, USER } from "./FipProcess.ts"
import { median } from "./Timing.ts"

const WRITERS = 64
const WRITES_EACH = 20
const PATCHES = 200
const MANY_PATCHES = 10_000
const TICKS_PER_SECOND = 100

interface Served {
  readonly fip: FipProcess
  readonly run: <A>(work: Effect.Effect<A, { readonly message: string }, FipClient>) => Promise<A>
  readonly stop: () => Promise<void>
}

/** A server, and a client of it that is logged in. */
const serve = async (folder: string, flags: ReadonlyArray<string>): Promise<Served> => {
  const fip = await startFip(folder, flags)
  const runtime = ManagedRuntime.make(
    FipClient.layer({ host: "127.0.0.1", port: fip.port, knownHosts: join(folder, "known_hosts") }).pipe(Layer.orDie)
  )
  await runtime.runPromise(Effect.flatMap(FipClient, (client) => client.login(USER, Redacted.make(PASSWORD))))
  return {
    fip,
    run: (work) => runtime.runPromise(work),
    stop: async () => {
      await runtime.dispose()
      await fip.stop()
    }
  }
}

/** Seconds of processor that a process has used. */
const processorSeconds = async (pid: number): Promise<number> => {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]?.split(" ") ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

const content = (round: number, writer: number, index: number): string =>
  `${round} ${writer} ${index} `.repeat(100).slice(0, 1024)

/** 64 writers, each with a file of its own of 1 KiB that it replaces again and again. */
const write = (round: number) =>
  Effect.flatMap(FipClient, (client) =>
    Effect.forEach(
      Array.from({ length: WRITERS }, (_, writer) => writer),
      (writer) =>
        Effect.forEach(
          Array.from({ length: WRITES_EACH }, (_, index) => index),
          (index) => client.write(`writer-${writer}`, content(round, writer, index)),
          { discard: true }
        ),
      { concurrency: "unbounded", discard: true }
    ))

const ms = (seconds: number): string => `${(seconds * 1000).toFixed(2)} ms`

const throughput = async (folder: string, rounds: number, databases: ReadonlyArray<ReadonlyArray<string>>) => {
  const servers = await Promise.all(databases.map((flags, index) => serve(join(folder, `server-${index}`), flags)))
  try {
    const seconds = servers.map((): Array<number> => [])
    const processor = servers.map(() => 0)
    for (let round = -1; round < rounds; round++) {
      for (const [index, { fip, run }] of servers.entries()) {
        const [start, used] = [performance.now(), await processorSeconds(fip.pid)]
        await run(write(round))
        if (round < 0) continue
        seconds[index]?.push((performance.now() - start) / 1000)
        processor[index] = (processor[index] ?? 0) + await processorSeconds(fip.pid) - used
      }
    }
    const writes = WRITERS * WRITES_EACH
    return servers.map((_, index) => ({
      rate: writes / median(seconds[index] ?? []),
      processor: (processor[index] ?? 0) / rounds / writes
    }))
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}

/** The time of each of a number of patches of 10 bytes, one after the other, of these files in turns. */
const patchInTurns = (files: ReadonlyArray<{ readonly name: string; readonly size: number }>, count: number) =>
  Effect.gen(function*() {
    const client = yield* FipClient
    const seconds = files.map((): Array<number> => [])
    for (let index = 0; index < count; index++) {
      for (const [which, { name, size }] of files.entries()) {
        const start = performance.now()
        yield* client.patch(name, (index * 7919 * 4099) % (size - 10), "0123456789")
        seconds[which]?.push((performance.now() - start) / 1000)
      }
    }
    return seconds.map(median)
  })

const patches = async (folder: string) => {
  const files = [{ name: "small", size: 1024 }, { name: "large", size: 1024 ** 3 }]
  const server = await serve(join(folder, "patches"), [])
  try {
    for (const { name, size } of files) {
      const source = join(folder, name)
      await makeRandomFile(source, size)
      await server.fip.shell([`UPLOAD ${source} ${name}`])
      await rm(source)
    }
    await server.run(patchInTurns(files, 20))
    const fresh = await server.run(patchInTurns(files, PATCHES))
    await server.run(patchInTurns(files, MANY_PATCHES - PATCHES))
    return { fresh, many: await server.run(patchInTurns(files, PATCHES)) }
  } finally {
    await server.stop()
  }
}

export const durability = async (folder: string, rounds: number): Promise<string> => {
  const rows = await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const postgres = [yield* TestPostgres.newDurableServer, yield* TestPostgres.newDurableServer]
    return yield* Effect.promise(() =>
      throughput(folder, rounds, [
        ["--durability", "full"],
        ["--durability", "os"],
        ["--durability", "full", "--database-url", postgres[0] ?? ""],
        ["--durability", "os", "--database-url", postgres[1] ?? ""]
      ])
    )
  })))
  const names = ["embedded, `full`", "embedded, `os`", "PostgreSQL, `full`", "PostgreSQL, `os`"]
  const lines = rows.map(({ processor, rate }, index) => {
    const other = rows[index - index % 2 + 1]?.rate ?? rate
    return `| ${names[index]} | ${rate.toFixed(0)} writes/s | ${(100 * rate / other).toFixed(0)} % | ${ms(processor)} |`
  })
  return [
    `### ${WRITERS} writers at the same time, files of 1 KiB, each write acknowledged before the next`,
    [
      "| | median | of `os` | processor of the server, for one write |",
      "| --- | --- | --- | --- |",
      ...lines
    ].join("\n")
  ].join("\n\n")
}

export const patch = async (folder: string): Promise<string> => {
  const { fresh, many } = await patches(folder)
  const [small = 0, large = 0] = fresh
  const [smallMany = 0, largeMany = 0] = many
  const row = (name: string, seconds: number) => `| ${name} | ${ms(seconds)} | ${(seconds / small).toFixed(2)} × |`
  return [
    `### PATCH of 10 bytes, one after the other, embedded database, \`full\``,
    [
      "| file | median | of the first |",
      "| --- | --- | --- |",
      row("1 KiB", small),
      row("1 GiB", large),
      row(`1 KiB, after ${MANY_PATCHES} patches`, smallMany),
      row(`1 GiB, after ${MANY_PATCHES} patches`, largeMany)
    ].join("\n")
  ].join("\n\n")
}
