/** The settings of `fip serve`: what is said of wrong ones, where each came from, and what SIGHUP changes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { once } from "node:events"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { resolveSettings, type ServeFlags } from "../../src/cli/serverSettings.ts"
import { configText, shownSettings } from "../../src/cli/settings/printConfig.ts"
import { run, serve } from "../support/Program.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { temporaryFolder } from "../support/TestServer.ts"

const resolved = (text: string, flags: ServeFlags = {}) =>
  Effect.gen(function*() {
    const path = join(yield* temporaryFolder, "fip.toml")
    yield* Effect.promise(() => writeFile(path, text))
    return { path, settings: yield* resolveSettings(flags, Option.some(path)) }
  })

/** What is said of a config file, without its path. */
const complaint = (text: string, flags: ServeFlags = {}) =>
  Effect.map(Effect.flip(resolved(text, flags)), ({ message }) => message.replace(/^\S*fip\.toml, /, ""))

describe("wrong settings", () => {
  it.live("are named with their line, what they must be, and what was perhaps meant", () =>
    Effect.gen(function*() {
      const host = "host = \"::\"\n\n"
      const sentences = [
        ["max_conections = 3", "line 3: there is no setting \"max_conections\": did you mean max_connections?"],
        ["quux = 3", "line 3: there is no setting \"quux\""],
        ["[limits]\nhost = 3", "line 3: there is no setting \"limits\""],
        [
          "registration = \"closd\"",
          "line 3: registration must be one of open, invite, closed, not \"closd\": did you mean closed?"
        ],
        [
          "'idle_timeout' = \"ten\"",
          "line 3: idle_timeout must be a time such as \"30 seconds\", \"15 minutes\" or \"90d\", not \"ten\""
        ],
        [
          "cache_bytes = \"lots\"",
          "line 3: cache_bytes must be a size such as \"512 KiB\" or \"10 GiB\", not \"lots\""
        ],
        ["max_guests = -1", "line 3: max_guests must be a whole number from 0 on, not -1"],
        ["max_guests = [7]", "line 3: max_guests must be a whole number from 0 on"],
        ["port = 70000", "line 3: port 70000 is out of range: 0 (any free one) to 65535"],
        ["rotate_every = \"2s\"", "line 3: a key that is changed more than once a minute is none: raise rotate-every"]
      ] as const
      for (const [text, sentence] of sentences) assert.strictEqual(yield* complaint(host + text), sentence)
      assert.match(yield* complaint(`${host}port =`), /^line 3, column \d+: /)
      assert.strictEqual(
        yield* complaint("", { durability: "ful" }),
        "--durability: durability must be one of full, os, not \"ful\": did you mean full?"
      )
    }).pipe(Effect.scoped))

  it("end the program with 2; a variable that is nearly one is said", async () => {
    const wrong = await run(["serve"], { env: { FIP_MAX_GUESTS: "many" } })
    assert.deepStrictEqual([wrong.status, wrong.stderr], [
      2,
      "fip: FIP_MAX_GUESTS: max_guests must be a whole number from 0 on, not \"many\"\n"
    ])
    const near = await run(["serve", "--print-config"], { env: { FIP_MAX_GUEST: "1", FIP_USERNAME: "alice" } })
    assert.deepStrictEqual([near.status, near.stderr], [
      0,
      "fip: FIP_MAX_GUEST in the environment is no setting: did you mean FIP_MAX_GUESTS?\n"
    ])
  })
})

describe("--print-config", () => {
  it.live("is a config file that gives the same settings, and says where each is from", () =>
    Effect.gen(function*() {
      const text =
        "cache_bytes = \"1000000 B\"\nbyte_rate = \"3MiB\"\nrotate_every = \"26w\"\nidle_timeout = \"1.5 hours\""
      const { path, settings } = yield* resolved(text, { port: 0, segments_dir: "/srv/a \"b\"" })
      const printed = configText(settings)
      const again = yield* resolved(printed)
      const values = (one: typeof settings) => shownSettings(one).map(({ key, value }) => [key, value])
      assert.deepStrictEqual(values(again.settings), values(settings))
      assert.deepStrictEqual(again.settings.server, settings.server)
      assert.match(printed, new RegExp(`^byte_rate = "3 MiB" +# ${path}, line 2$`, "m"))
      assert.match(printed, /^port = 0 +# \[port\]$/m)
      assert.match(printed, /^host = "127.0.0.1" +# default$/m)
    }).pipe(Effect.scoped))

  it("shows no password, and is one object with --json", async () => {
    const env = { FIP_DATABASE_URL: "postgres://fip:sesame@db.example/fip?password=sesame", FIP_LOG_LEVEL: "warn" }
    const printed = await run(["serve", "--print-config"], { env })
    assert.include(printed.stdout.toString(), "# database_url = \"postgres://fip:***@db.example/fip?password=***\"")
    const json = await run(["serve", "--print-config", "--json"], { env })
    assert.notInclude(json.stdout.toString() + printed.stdout.toString(), "sesame")
    const { settings }: { settings: ReadonlyArray<Readonly<Record<string, unknown>>> } = JSON.parse(
      json.stdout.toString()
    )
    assert.deepStrictEqual(settings.find((one) => one["key"] === "log_level"), {
      key: "log_level",
      value: "warn",
      source: "environment",
      name: "FIP_LOG_LEVEL"
    })
    assert.strictEqual((await run(["serve", "--json"])).status, 2)
  })
})

describe("SIGHUP", () => {
  it.live(
    "changes what a running server can take over, says what it cannot, and keeps all when the file is broken",
    () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const file = join(folder, "fip.toml")
        yield* Effect.promise(async () => {
          await TestDatabase.seedDataDir(folder)
          const settings = (registration: string, more = "") =>
            writeFile(file, `registration = "${registration}"\nlog_format = "json"\n${more}`)
          await settings("closed")
          const server = await serve(["0", "--data-dir", folder, "--config", file])
          const lines: Array<string> = []
          const said = async (part: string): Promise<void> => {
            while (!lines.some((line) => line.includes(part))) await once(log, "line")
          }
          const log = createInterface(server.child.stderr ?? process.stdin).on("line", (line) => lines.push(line))
          const register = async (name: string) =>
            (await run(["connect", "127.0.0.1", String(server.port), "--", "UNEW", name, "a good password"], {
              env: { XDG_CONFIG_HOME: folder }
            })).status

          assert.strictEqual(await register("alice"), 1)
          await settings("open", "bytes_per_user = \"5 MiB\"\nguess_delay = \"2 seconds\"\ncache_bytes = \"1 MiB\"\n")
          server.child.kill("SIGHUP")
          await said("these settings are taken over by a restart alone: cache_bytes")
          const changed = lines.find((line) => line.includes("settings changed"))
          const { annotations } = JSON.parse(changed ?? "")
          assert.deepStrictEqual(annotations, {
            registration: "closed -> open",
            bytes_per_user: "10 GiB -> 5 MiB",
            guess_delay: "1 second -> 2 seconds"
          })
          assert.strictEqual(await register("alice"), 0)
          const storage = await run(["connect", "127.0.0.1", String(server.port), "--json", "--", "QUERY", "storage"], {
            env: { XDG_CONFIG_HOME: folder, FIP_USERNAME: "alice", FIP_PASSWORD: "a good password" }
          })
          assert.strictEqual(JSON.parse(storage.stdout.toString()).result.bytes_limit, 5 * 1024 ** 2)

          await settings("shut")
          server.child.kill("SIGHUP")
          await said("settings stay as they are: ")
          assert.isTrue(lines.some((line) => line.includes("fip.toml, line 1: registration must be one of")))
          assert.strictEqual(await register("robert"), 0)

          lines.length = 0
          await settings("open", "log_level = \"warn\"\ncache_bytes = \"2 MiB\"\n")
          server.child.kill("SIGHUP")
          await said("restart alone: cache_bytes")
          assert.strictEqual(await register("carol"), 0)
          const ended = await server.stop()
          assert.strictEqual(ended.status, 0, ended.stderr)
          const registered = ended.stderr.split("\n").filter((line) => line.includes("user registered"))
          assert.deepStrictEqual(registered.map((line) => JSON.parse(line).annotations.username), ["alice", "robert"])
        })
      }).pipe(Effect.scoped),
    60_000
  )
})
