/** The client's settings: read with positions, changed without harm to what a person wrote, and servers by their names. */
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import * as fc from "fast-check"
import { chmod, lstat, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { parse } from "smol-toml"
import { findServer, parseServerName } from "../../src/cli/ServerName.ts"
import { addProfile, clientConfig, removeProfile, setDefaultProfile } from "../../src/client/ClientConfig.ts"
import { didYouMean } from "../../src/platform/nearest.ts"

let folder = ""
let before: string | undefined
const file = () => path.join(folder, "fip", "config.toml")

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "fip-config-"))
  before = process.env["XDG_CONFIG_HOME"]
  process.env["XDG_CONFIG_HOME"] = folder
  await mkdir(path.join(folder, "fip"))
})
afterEach(async () => {
  if (before === undefined) delete process.env["XDG_CONFIG_HOME"]
  else process.env["XDG_CONFIG_HOME"] = before
  await rm(folder, { recursive: true, force: true })
})

const write = (text: string) => Effect.promise(() => writeFile(file(), text))
const read = Effect.promise(() => readFile(file(), "utf8"))
const fault = Effect.map(Effect.flip(clientConfig), ({ message }) => message.replace(file(), "FILE"))

const WRITTEN = `# my servers
default = "work" # the usual one

[profile.work] # at work
host = "files.example.org"
port = 7000
username = "alice_smith"

# the one at home
[profile.home]
host = "10.0.0.7"
known_hosts = "home_hosts"
`

const find = (text: string, env: Record<string, string> = {}) =>
  Effect.flatMap(parseServerName(text), findServer).pipe(
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))
  )

// One after the other: the folder of settings is the process's.
const password = (text: string, env: Record<string, string> = {}) =>
  Effect.flatMap(
    find(text, env),
    ({ passwordCommand }) =>
      passwordCommand === undefined ? Effect.undefined : Effect.map(passwordCommand, Redacted.value)
  )

describe("the client's settings", () => {
  it.effect("need no file", () =>
    Effect.gen(function*() {
      const config = yield* clientConfig
      assert.strictEqual(config.profiles.size, 0)
      assert.isUndefined(config.defaultProfile)
    }))

  const faults: ReadonlyArray<readonly [what: string, text: string, expected: string]> = [
    ["what is no TOML", "default = \n", "FILE, line 1, column 11"],
    ["an unknown key", "a = 1\n", "FILE, line 1, column 1: there is no setting \"a\""],
    [
      "a mistyped key",
      "# one\n[profile.work]\nhost = \"h\"\n  usrname = \"alice\"\n",
      "FILE, line 4, column 3: there is no setting \"usrname\": did you mean username?"
    ],
    [
      "a wrong value",
      "[profile.work]\nhost = \"h\"\nport = 70000\n",
      "FILE, line 3, column 1: profile.work.port: a port"
    ],
    [
      "a wrong value of several lines",
      "[profile.work]\nhost = \"h\"\npassword_command = [\n  1,\n]\n",
      "FILE, line 3, column 1: profile.work.password_command"
    ],
    ["a missing host", "[profile.work]\nport = 1\n", "FILE, line 1, column 10: profile.work.host is missing"],
    [
      "an unknown default",
      WRITTEN.replace("\"work\"", "\"wrok\""),
      "FILE, line 2, column 1: there is no profile \"wrok\": did you mean work?"
    ],
    [
      "one table in one line",
      "profile = { work = { hots = \"h\" } }\n",
      "FILE, line 1, column 22: there is no setting \"hots\""
    ]
  ]
  for (const [what, text, expected] of faults) {
    it.effect(`say where ${what} stands`, () =>
      Effect.gen(function*() {
        yield* write(text)
        assert.include(yield* fault, expected)
      }))
  }

  it.effect("keep every word that a person wrote when a profile comes or goes", () =>
    Effect.gen(function*() {
      yield* write(WRITTEN)
      yield* addProfile("new", { host: "new.example.org", password_command: "pass show fip" })
      const added = yield* read
      assert.isTrue(added.startsWith(WRITTEN))
      assert.strictEqual((yield* clientConfig).profiles.get("new")?.password_command, "pass show fip")
      yield* removeProfile("new")
      assert.strictEqual((yield* read).trimEnd(), WRITTEN.trimEnd())
      yield* removeProfile("work")
      const rest = yield* read
      assert.include(rest, "# the one at home\n[profile.home]")
      assert.notInclude(rest, "default =")
      assert.strictEqual((yield* clientConfig).defaultProfile, undefined)
      yield* setDefaultProfile("home")
      assert.strictEqual((yield* clientConfig).defaultProfile, "home")
      assert.include(yield* read, "# my servers")
    }))

  it.effect("are left as they are where a change by text would alter more", () =>
    Effect.gen(function*() {
      const inline = "profile = { work = { host = \"h\" } }\n"
      yield* write(inline)
      assert.include((yield* Effect.flip(addProfile("b", { host: "h" }))).message, "better changed by hand")
      assert.include((yield* Effect.flip(removeProfile("work"))).message, "better changed by hand")
      assert.strictEqual(yield* read, inline)
      assert.include((yield* Effect.flip(addProfile("work", { host: "h" }))).message, "already")
      assert.include((yield* Effect.flip(removeProfile("wrk"))).message, "did you mean work?")
    }))

  it.effect("stay where a link leads, as protected as they were", () =>
    Effect.gen(function*() {
      const real = path.join(folder, "dotfiles.toml")
      yield* Effect.promise(async () => {
        await writeFile(real, WRITTEN)
        await chmod(real, 0o640)
        await symlink(real, file())
      })
      yield* setDefaultProfile("home")
      assert.isTrue((yield* Effect.promise(() => lstat(file()))).isSymbolicLink())
      assert.strictEqual((yield* Effect.promise(() => stat(real))).mode & 0o777, 0o640)
      assert.include(yield* Effect.promise(() => readFile(real, "utf8")), "default = \"home\"")
    }))

  it.effect("come through any run of changes as a table of profiles would", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              what: fc.constantFrom("add", "remove", "default"),
              name: fc.constantFrom("work", "a.b", "a-b", "home"),
              host: fc.constantFrom("h", "10.0.0.1")
            }),
            { maxLength: 12 }
          ),
          fc.constantFrom("", "# a comment\n", WRITTEN, "[profile.work]\nhost = \"h\""),
          async (changes, text) => {
            await writeFile(file(), text)
            const model = new Map(Object.keys(Object(parse(text)["profile"])).map((name) => [name, true]))
            let chosen: unknown = parse(text)["default"]
            for (const { host, name, what } of changes) {
              const run = what === "add"
                ? addProfile(name, { host })
                : what === "remove"
                ? removeProfile(name)
                : setDefaultProfile(name)
              const worked = await Effect.runPromise(
                Effect.match(run, { onFailure: () => false, onSuccess: () => true })
              )
              assert.strictEqual(worked, what === "add" ? !model.has(name) : model.has(name), `${what} ${name}`)
              if (!worked) continue
              if (what === "add") model.set(name, true)
              if (what === "remove") model.delete(name)
              if (what === "remove" && chosen === name) chosen = undefined
              if (what === "default") chosen = name
            }
            const config = await Effect.runPromise(clientConfig)
            assert.deepStrictEqual([...config.profiles.keys()].sort(), [...model.keys()].sort())
            assert.strictEqual(config.defaultProfile, chosen)
            for (const comment of text.match(/^#.*$/gm) ?? []) {
              assert.include(await readFile(file(), "utf8"), comment)
            }
          }
        ),
        { numRuns: 40 }
      )
    ))
})

describe("a server's name", () => {
  it.effect("is a profile before it is a host, and a host behind fip://", () =>
    Effect.gen(function*() {
      yield* write(WRITTEN)
      const work = yield* find("work")
      assert.deepInclude(work, { host: "files.example.org", port: 7000, username: "alice_smith", profile: "work" })
      assert.deepInclude(yield* find("fip://work"), { host: "work", port: 6090, username: undefined })
      assert.deepInclude(yield* find("bob_jones@work:8000"), { port: 8000, username: "bob_jones" })
      assert.deepInclude(yield* find("other:8000"), { host: "other", port: 8000 })
      assert.deepInclude(yield* find(""), { profile: "work" })
      assert.deepInclude(yield* find("::1"), { host: "::1", port: 6090 })
    }))

  it.effect("takes the environment before the profile, and what was written before both", () =>
    Effect.gen(function*() {
      yield* write(WRITTEN)
      const env = { FIP_USERNAME: "carol_king" }
      assert.strictEqual((yield* find("work", env)).username, "carol_king")
      assert.strictEqual((yield* find("bob_jones@work", env)).username, "bob_jones")
      assert.strictEqual((yield* find("home")).knownHosts, path.join(folder, "fip", "home_hosts"))
    }))

  it.effect("that is missing is asked for, with the way to a default", () =>
    Effect.gen(function*() {
      assert.include((yield* Effect.flip(find(""))).message, "fip profile add")
      yield* write(WRITTEN.replace(/^default.*$/m, ""))
      assert.include((yield* Effect.flip(find(""))).message, "fip profile default")
      assert.include((yield* Effect.flip(find("work:0"))).message, "a port is a number from 1 to 65535")
      assert.include((yield* Effect.flip(find("a b/c"))).message, "names no server")
    }))

  it.live("brings the password that its command prints, for its own user alone", () =>
    Effect.gen(function*() {
      yield* write(
        `${WRITTEN}password_command = "echo secret; echo more"\n[profile.arguments]\nhost = "h"\n` +
          "password_command = [\"printf\", \"%s\", \"a b\"]\n[profile.bad]\nhost = \"h\"\npassword_command = \"exit 3\"\n"
      )
      assert.strictEqual(yield* password("home"), "secret")
      assert.strictEqual(yield* password("arguments"), "a b")
      assert.isUndefined(yield* password("bob_jones@home"))
      assert.isUndefined(yield* password("home", { FIP_USERNAME: "bob_jones" }))
      assert.include((yield* Effect.flip(password("bad"))).message, "ended with status 3")
    }))
})

describe("didYouMean", () => {
  it("names what differs by a slip or two, and nothing else", () => {
    assert.strictEqual(didYouMean("wrok", ["work", "home"]), ": did you mean work?")
    assert.strictEqual(didYouMean("wark", ["work", "wars"]), ": did you mean work or wars?")
    assert.strictEqual(didYouMean("x", ["work"]), "")
    assert.strictEqual(didYouMean("a", ["b"]), "")
  })
})
