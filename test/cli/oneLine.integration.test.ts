/** The program from one line to the next, as processes: kept sessions, profiles, one-line forms and their statuses. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile, spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { copyFile, mkdir, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises"
import path from "node:path"
import { promisify } from "node:util"
import { type Home, makeHome, removeHome } from "../support/Home.ts"
import { type Finished, ownProgram, run, serve, type ServerProcess } from "../support/Program.ts"
import { TestDatabase } from "../support/TestDatabase.ts"

let home: Home
let folder = ""
let server: ServerProcess
let at = ""
let environment: NodeJS.ProcessEnv = {}

const fip = (
  line: string,
  options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {}
): Promise<Finished> =>
  run(line.split(" "), { input: options.input ?? "", cwd: folder, env: { ...environment, ...options.env } })

/** Lets the tokens that are kept here end. */
const age = async (): Promise<void> => {
  const sessions = path.join(folder, "state/fip/sessions")
  for (const name of await readdir(sessions).catch(() => [])) {
    if (!name.endsWith(".json")) continue
    const kept = JSON.parse(await readFile(path.join(sessions, name), "utf8"))
    await writeFile(path.join(sessions, name), JSON.stringify({ ...kept, token_expires_at: kept.received_at }))
  }
}

/** Every command finds a token that has ended. */
const worked = async (line: string, options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {}) => {
  await age()
  const finished = await fip(line, options)
  assert.strictEqual(finished.status, 0, `${line}: ${finished.stderr}`)
  return finished.stdout.toString()
}

beforeAll(async () => {
  home = await makeHome()
  ;({ environment, folder } = home)
  server = await serve(["0", "--data-dir", home.dataDir])
  at = `localhost:${server.port}`
  await worked(`connect ${at} -- UNEW alice_smith alice-password`)
  await worked(`login alice_smith@${at}`, { env: { FIP_PASSWORD: "alice-password" } })
  await worked(`profile add work --host ${at} --user alice_smith --default`)
}, 180_000)

afterAll(async () => {
  await server.stop("SIGKILL")
  await removeHome(home)
})

describe("one-line forms", { timeout: 180_000 }, () => {
  it("send, list, show, copy, move, fetch and delete, by host and by profile", async () => {
    await writeFile(path.join(folder, "a.txt"), "one\n")
    await writeFile(path.join(folder, "-b.txt"), "two\n")
    await worked(`cp a.txt ./-b.txt ${at}:docs/`)
    await worked("put - :log.txt", { input: "from a pipe\n" })
    assert.strictEqual(await worked("ls -r work:"), "docs/-b.txt\ndocs/a.txt\nlog.txt\n")
    assert.strictEqual(await worked("cat work:log.txt :docs/-b.txt"), "from a pipe\ntwo\n")
    await worked("cp work:docs/a.txt work:copy.txt")
    await worked("mv :copy.txt :old/")
    await mkdir(path.join(folder, "here"))
    await worked(`get alice_smith@${at}:old/copy.txt here/`)
    assert.strictEqual(await readFile(path.join(folder, "here/copy.txt"), "utf8"), "one\n")
    const listed = JSON.parse(await worked("ls --json :old/"))
    assert.strictEqual(listed.command, "LIST")
    assert.deepStrictEqual(listed.result.files.map(({ name }: { readonly name: string }) => name), ["old/copy.txt"])
    await worked("rm :old/copy.txt :log.txt")
    assert.strictEqual(await worked("ls :"), "docs/\n")
  })

  it("make a folder like another", async () => {
    await mkdir(path.join(folder, "src/deep"), { recursive: true })
    await writeFile(path.join(folder, "src/x"), "x")
    await writeFile(path.join(folder, "src/deep/y"), "y")
    await worked("sync src :src/")
    assert.strictEqual(await worked("cat :src/deep/y"), "y")
    await worked("sync :src/ again")
    assert.deepStrictEqual((await readdir(path.join(folder, "again"))).sort(), ["deep", "x"])
  })

  it("end with the status that tells the truth, and go on when they are told to", async () => {
    const statuses = await Promise.all(
      [
        "cat :nothing-here",
        "cat nothing-here",
        "ls localhost:1:",
        "cp a.txt",
        "ls nobody_known@" + at + ":",
        "cat --no-such-flag :docs/a.txt",
        "mv :docs/a.txt localhost:1:a.txt"
      ].map(async (line) => (await fip(line)).status)
    )
    assert.deepStrictEqual(statuses, [1, 2, 3, 2, 5, 2, 2])
    const going = await fip("cat --keep-going :nothing-here :docs/a.txt")
    assert.strictEqual(going.status, 1)
    assert.strictEqual(going.stdout.toString(), "one\n")
    const script = await fip("connect --keep-going", { input: "READ nothing-here\nREAD docs/a.txt\nNO SUCH\n" })
    assert.strictEqual(script.status, 1)
    assert.strictEqual(script.stdout.toString(), "one\n")
  })
})

describe("fip cp from one server to another", { timeout: 180_000 }, () => {
  it("streams files and folders, with their times, and proves what arrives", async () => {
    await TestDatabase.seedDataDir(path.join(folder, "other"))
    const other = await serve(["0", "--data-dir", path.join(folder, "other")])
    try {
      const there = `localhost:${other.port}`
      await worked(`connect ${there} -- UNEW carol_jones carol-password`)
      assert.strictEqual((await fip(`login bob_jones@${there} --username carol_jones`)).status, 2)
      await worked(`login ${there} --username carol_jones`, { env: { FIP_PASSWORD: "carol-password" } })
      await worked(`profile add other --host ${there} --user carol_jones`)
      await mkdir(path.join(folder, "out/deep"), { recursive: true })
      const content = randomBytes(5_000_000)
      await writeFile(path.join(folder, "out/large"), content, { mode: 0o755 })
      await utimes(path.join(folder, "out/large"), 1_600_000_000, 1_600_000_000)
      await writeFile(path.join(folder, "out/deep/small.txt"), "small")
      await worked("cp -r out :out")
      const one = JSON.parse(await worked("cp --json :out/large other:copy"))
      assert.strictEqual(one.result.sha256, createHash("sha256").update(content).digest("hex"))
      await worked("cp -r :out/ other:all/")
      assert.strictEqual(await worked("ls -r other:"), "all/deep/small.txt\nall/large\ncopy\n")
      await worked("get other:all/large back")
      assert.isTrue(content.equals(await readFile(path.join(folder, "back"))))
      const { mode, mtimeMs } = await stat(path.join(folder, "back"))
      assert.deepStrictEqual([mode & 0o100, mtimeMs], [0o100, 1_600_000_000_000])
      // Nobody knows the hash of what has grown; it is found out.
      await worked("connect -- APPEND out/deep/small.txt er")
      await worked("cp --overwrite older :out/deep/small.txt other:all/deep/")
      assert.strictEqual(await worked("cat other:all/deep/small.txt"), "smaller")
      const kept = await fip("cp -r --overwrite never :out/ other:all/")
      assert.include(kept.stderr, "kept 2 that were there")
      await worked("cp :out/*ge :out/deep/small.txt other:flat/")
      assert.strictEqual(await worked("ls other:flat/"), "flat/large\nflat/small.txt\n")
      assert.include(await worked("cp -r --dry-run :out/ other:new/"), "out/large  to  new/large")
      assert.include((await fip("cp :out/ other:new/")).stderr, "is a folder: add --recursive")
      assert.strictEqual((await fip("cp :out/large nobody_here@" + there + ":x")).status, 5)
      await worked("rm -r --yes other:all/")
      assert.strictEqual((await fip("rm -r other:flat/")).status, 2)
      assert.strictEqual(await worked("ls other:"), "flat/\ncopy\n")
      await worked("logout other")
      await worked("profile remove other")
    } finally {
      await other.stop("SIGKILL")
    }
  })
})

describe("a session that is kept", { timeout: 180_000 }, () => {
  it("is renewed by many commands at one moment, and none of them ends it", async () => {
    await age()
    const statuses = await Promise.all(Array.from({ length: 6 }, async () => (await fip("ls :")).status))
    assert.deepStrictEqual(statuses, [0, 0, 0, 0, 0, 0])
    const sessions = JSON.parse(await worked("connect --json -- QUERY sessions"))
    assert.lengthOf(sessions.result.sessions, 1)
  })

  it("is who one is, until one logs out", async () => {
    assert.include(await worked("whoami"), "alice_smith")
    const who = JSON.parse(await worked("whoami work --json"))
    assert.deepInclude(who.result, { username: "alice_smith", kept: true, server: at })
    await worked("logout")
    assert.strictEqual((await fip("ls :")).status, 5)
    assert.strictEqual((await fip("whoami")).status, 5)
    assert.strictEqual((await fip("logout")).status, 5)
    // Back, by the command of a profile.
    await worked("profile remove work")
    const again = await run(
      [
        "profile",
        "add",
        "work",
        "--host",
        at,
        "--user",
        "alice_smith",
        "--password-command",
        "echo alice-password",
        "--default"
      ],
      { env: environment }
    )
    assert.strictEqual(again.status, 0, again.stderr)
    assert.include(await worked("ls :"), "docs/")
    assert.strictEqual((await fip("whoami")).status, 5)
    await worked("login")
    assert.include(await worked("whoami"), "alice_smith")
    assert.notInclude(
      (await Promise.all(
        (await readdir(path.join(folder, "state/fip/sessions")))
          .map((name) => readFile(path.join(folder, "state/fip/sessions", name), "utf8"))
      )).join(),
      "alice-password"
    )
  })
})

const isHere = (shell: string): boolean => spawnSync(shell, ["--version"]).status === 0

/** A shell that finds this program under its name, and the script for it. */
const shell = async (name: string) => {
  const bin = path.join(folder, "bin")
  await mkdir(bin, { recursive: true })
  const program = `#!/bin/sh\nexec '${process.execPath}' '${ownProgram}' "$@"\n`
  await writeFile(path.join(bin, "fip"), program, { mode: 0o755 })
  const script = path.join(folder, `completions.${name}`)
  await writeFile(script, await worked(`completions ${name}`))
  const env = { ...environment, HOME: folder, PATH: `${bin}:${process.env["PATH"]}`, TERM: "xterm" }
  return async (...args: ReadonlyArray<string>) =>
    (await promisify(execFile)(name, [...args], { cwd: folder, env })).stdout.trim().split("\n")
}

/** What bash runs when Tab is pressed behind these words. */
const tab = (...words: ReadonlyArray<string>) =>
  `COMP_WORDS=(fip ${words.map((word) => `'${word}'`).join(" ")}); ` +
  `COMP_LINE="fip ${words.join(" ").replaceAll(" : ", ":")}"; COMP_POINT=\${#COMP_LINE}; ` +
  `COMP_CWORD=${words.length}; COMPREPLY=(); ` +
  `_fip--complete fip '${words.at(-1) ?? ""}' '${words.at(-2) ?? "fip"}'; printf '%s\\n' "\${COMPREPLY[@]}"`

describe("fip completions", { timeout: 180_000 }, () => {
  it("complete commands, flags, paths and names on a server in bash", async () => {
    const run = await shell("bash")
    const complete = (...words: ReadonlyArray<string>) =>
      run("--norc", "-c", `source completions.bash; ${tab(...words)}`)
    assert.deepStrictEqual(await complete("prof"), ["profile"])
    assert.include(await complete("cp", "--rec"), "--recursive")
    assert.include(await complete("cp", "a."), "a.txt")
    assert.deepStrictEqual(await complete("profile", "sh"), ["show"])
    assert.deepStrictEqual(await complete("completions", "z"), ["zsh"])
    await worked("put - :docs/$(touch-injected)", { input: "x" })
    assert.deepStrictEqual(await complete("cat", "work", ":", "do"), ["docs/"])
    assert.deepStrictEqual(await complete("cat", "work", ":", "docs/$"), ["docs/\\$\\(touch-injected\\)"])
  })

  it("ask nobody, trust nobody, and say nothing when there is no answer", async () => {
    const known = path.join(folder, "config/fip/known_hosts")
    const before = await readFile(known, "utf8")
    const env = { XDG_STATE_HOME: path.join(folder, "nobody") }
    const all = await Promise.all([
      fip("__complete localhost:1:x"),
      fip("__complete no-such-host.invalid:x"),
      fip("__complete ::x"),
      fip(`__complete 127.0.0.1:${server.port}:do`),
      fip("__complete work:do", { env })
    ])
    for (const { status, stderr, stdout } of all) assert.deepStrictEqual([status, stdout.length, stderr], [0, 0, ""])
    assert.strictEqual(await readFile(known, "utf8"), before)
    assert.strictEqual((await fip("__complete work:do")).stdout.toString(), "work:docs/\n")
  })

  // Where there is no such shell, these are told to be skipped.
  it.skipIf(!isHere("zsh"))("are right in zsh, which completes names on a server", async () => {
    const run = await shell("zsh")
    await run("-n", "completions.zsh")
    await copyFile(path.join(folder, "completions.zsh"), path.join(folder, "_fip"))
    await writeFile(
      path.join(folder, "type.zsh"),
      "zmodload zsh/zpty\nzpty z zsh -f -i\n" +
        "zpty -w z \"PS1='READY '; fpath=($PWD \\$fpath); autoload -Uz compinit; compinit -D -u; echo SET-UP\"\n" +
        "zpty -r -m z out '*SET-UP*READY*'\nzpty -w -n z $'fip cat work:do\\t'\nzpty -r -m z out '*docs/*'\nprint COMPLETED\n"
    )
    assert.include(await run("-f", "type.zsh"), "COMPLETED")
  })

  it.skipIf(!isHere("fish"))("are right in fish, which completes names on a server", async () => {
    const run = await shell("fish")
    await run("--no-execute", "completions.fish")
    const complete = (line: string) => run("--no-config", "-c", `source completions.fish; complete -C '${line}'`)
    assert.deepStrictEqual(await complete("fip cat work:do"), ["work:docs/"])
    assert.include((await complete("fip prof")).join(), "profile")
  })
})
