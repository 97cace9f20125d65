/** The shell at a real terminal, in front of a real server. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { mkdir, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises"
import path from "node:path"
import { type Home, makeHome, removeHome } from "../support/Home.ts"
import { run, serve, type ServerProcess } from "../support/Program.ts"
import { hasTerminal, Terminal } from "../support/Terminal.ts"

const CTRL_C = "\u0003"
const CTRL_D = "\u0004"
const UP = "\u001b[A"
const TAB = "\t"
const user = { FIP_USERNAME: "foobar_user", FIP_PASSWORD: "foobar_password" }

let home: Home
let folder = ""
let server: ServerProcess
let environment: NodeJS.ProcessEnv = {}
let prompt = ""

const startServer = (port: number) => serve([String(port), "--data-dir", home.dataDir])

const script = async (lines: ReadonlyArray<string>, credentials = user): Promise<void> => {
  const { status, stderr } = await run(["connect", "localhost", String(server.port)], {
    input: lines.join("\n"),
    env: { ...environment, ...credentials }
  })
  assert.strictEqual(status, 0, stderr)
}

/** Sits down at a terminal of one's own. */
const sitDown = async (options: { readonly rows?: number; readonly env?: NodeJS.ProcessEnv } = {}) => {
  const terminal = new Terminal(["connect", "localhost", String(server.port)], {
    cwd: folder,
    ...options,
    env: { ...environment, ...user, ...options.env }
  })
  await terminal.sees(prompt)
  return terminal
}

const leave = async (terminal: Terminal): Promise<void> => {
  terminal.type(CTRL_D)
  assert.strictEqual(await terminal.end, 0)
}

beforeAll(async () => {
  if (!hasTerminal) return
  home = await makeHome()
  ;({ environment, folder } = home)
  server = await startServer(0)
  prompt = `foobar_user@localhost:${server.port}> `
  await script([
    "UNEW bob_jones bob-password",
    "UNEW foobar_user foobar_password",
    "AUTH bob_jones bob-password",
    "WRITE shared.txt hello",
    "GRANT foobar_user shared.txt READ",
    "AUTH foobar_user foobar_password",
    "WRITE docs/report.txt 'the report'",
    "WRITE 'docs/two words.txt' blanks",
    "WRITE notes.txt mine"
  ], { FIP_USERNAME: "", FIP_PASSWORD: "" })
  await truncate(await file("zeros"), 2 * 1024 ** 3)
})

afterAll(async () => {
  if (!hasTerminal) return
  await server.stop("SIGKILL")
  await removeHome(home)
})

/** A file of this machine, made empty. */
const file = async (name: string): Promise<string> => {
  const local = path.join(folder, name)
  await writeFile(local, "")
  return local
}

describe.skipIf(!hasTerminal)("the shell at a real terminal", { timeout: 60_000 }, () => {
  it("completes commands, folders, names with blanks, owners, users and local files", async () => {
    const terminal = await sitDown()
    terminal.type("rea")
    await terminal.sees("rea")
    terminal.type(TAB)
    await terminal.sees("d ")
    terminal.type("do")
    await terminal.sees("do")
    terminal.type(TAB)
    await terminal.sees("cs/")
    terminal.type("two")
    await terminal.sees("two")
    terminal.type(TAB)
    await terminal.sees("\\ words.txt ")
    terminal.type("\r")
    await terminal.sees("blanks")
    await terminal.sees(prompt)
    terminal.type("READ ~b")
    await terminal.sees("~b")
    terminal.type(TAB)
    await terminal.sees("ob_jones/")
    terminal.type(TAB)
    await terminal.sees("shared.txt ")
    terminal.type("\r")
    await terminal.sees("hello")
    await terminal.sees(prompt)
    terminal.type("GRANT ")
    await terminal.sees("GRANT ")
    terminal.type(TAB)
    await terminal.sees("bob_jones ")
    terminal.type(CTRL_C)
    await terminal.sees(prompt)
    terminal.type("upload zer")
    await terminal.sees("zer")
    terminal.type(TAB)
    await terminal.sees("os ")
    terminal.type(CTRL_C)
    await terminal.sees(prompt)
    await leave(terminal)
  })

  it("brings back lines of an earlier session, and keeps none with a password", async () => {
    const first = await sitDown()
    first.type("auth foobar_user foobar_password\r")
    await first.sees("logged in")
    await first.sees(prompt)
    first.type("upass foobar_password foobar_password\r")
    await first.sees("changed the password")
    await first.sees(prompt)
    first.type("query file notes.txt\r")
    await first.sees("4 B (4 bytes)")
    await first.sees(prompt)
    await leave(first)
    const second = await sitDown()
    second.type(UP)
    await second.sees("query file notes.txt")
    second.type("\r")
    await second.sees("4 B (4 bytes)")
    await second.sees(prompt)
    await leave(second)
    const history = path.join(folder, "state", "fip", "history")
    const kept = await readFile(history, "utf8")
    assert.include(kept, "query file notes.txt\n")
    assert.notInclude(kept, "password")
    assert.strictEqual((await stat(history)).mode & 0o777, 0o600)
  })

  it("says what a job has to say above the line that is typed, and cancels it", async () => {
    const terminal = await sitDown()
    terminal.type("UPLOAD zeros &\r")
    await terminal.sees("[1] UPLOAD zeros")
    await terminal.sees(prompt)
    terminal.type("JOBS\r")
    await terminal.sees("running")
    await terminal.sees(prompt)
    terminal.type("CANCEL 1\r")
    await terminal.sees("[1] ")
    await terminal.sees("cancelled")
    await terminal.sees(prompt)
    terminal.type("WATCH docs/ &\r")
    await terminal.sees("watching docs/")
    await terminal.sees(prompt)
    terminal.type("PW")
    await terminal.sees("PW")
    await script(["WRITE docs/new.txt x"])
    await terminal.sees("created docs/new.txt")
    // The line that was begun is there again, and goes on.
    await terminal.sees(`${prompt}PW`)
    terminal.type("D\r")
    await terminal.sees("/\r\n")
    await terminal.sees(prompt)
    terminal.type("bye\r")
    await terminal.sees("1 job still running")
    terminal.type("n\r")
    await terminal.sees(prompt)
    terminal.type("bye\r")
    await terminal.sees("1 job still running")
    terminal.type("y\r")
    assert.strictEqual(await terminal.end, 0)
  })

  it("draws the line anew when the terminal is resized, once and whole", async () => {
    const terminal = await sitDown()
    const typed = "READ a-name-that-is-longer-than-the-terminal-will-be"
    terminal.type(typed)
    await terminal.sees(typed)
    for (const columns of [40, 100, 33, 80]) {
      const before = terminal.text.length
      await terminal.resize(columns)
      const whole = `${prompt}${typed}`
      await terminal.shows(`one line in ${columns} columns`, ({ cursor: [row, column], rows }) => {
        const shown = rows.slice(rows.findIndex((text) => text.startsWith(prompt.trimEnd().slice(0, columns))))
        // The screen alone has it right at once: it is the program that is waited for.
        return terminal.text.length > before && shown.join("").replaceAll(" ", "") === whole.replaceAll(" ", "") &&
          column === whole.length % columns &&
          row === rows.length - 1 + (whole.length % columns === 0 ? 1 : 0)
      })
    }
    terminal.type(CTRL_C)
    await terminal.sees(prompt)
    await leave(terminal)
  })

  it("keeps progress on one row, also when the terminal becomes narrow under it", async () => {
    const terminal = await sitDown()
    terminal.type("UPLOAD zeros a-name-that-is-long-enough-to-be-cut/zeros\r")
    await terminal.shows("progress in 80 columns", ({ rows }) => /MiB\/s .* left/.test(rows.at(-1) ?? ""))
    await terminal.resize(40)
    const figures = new Set<string>()
    await terminal.shows("progress in 40 columns", ({ rows }) => {
      const last = rows.at(-1) ?? ""
      if (last.length < 40 && /^\d+% .*MiB\/s {2}\S+$/.test(last)) figures.add(last)
      return figures.size > 3
    })
    terminal.type(CTRL_C)
    await terminal.shows("what became of it", ({ rows }) => rows.at(-1) === prompt.trimEnd())
    const progress = terminal.screen.rows.filter((row) => row.includes("MiB"))
    assert.lengthOf(progress, 1, terminal.screen.rows.join("\n"))
    assert.match(progress[0] ?? "", /\^C$/)
    assert.isFalse(terminal.screen.wrapped.some((row) => row.includes("MiB")))
    await leave(terminal)
  })

  it("lists what there is to choose from below the line, and finds earlier lines, on a screen that stays whole", async () => {
    const terminal = await sitDown()
    terminal.type("READ docs/report.txt\r")
    await terminal.shows("the report", ({ rows }) => rows.includes("the report") && rows.at(-1) === prompt.trimEnd())
    terminal.type("QUERY ")
    await terminal.sees("QUERY ")
    terminal.type(TAB)
    terminal.type(TAB)
    await terminal.shows("what can be asked", ({ rows }) => {
      const at = rows.lastIndexOf(`${prompt}QUERY`)
      return at > 1 && rows.slice(0, at).some((row) => /STORAGE +\S/.test(row)) && at === rows.length - 1
    })
    terminal.type("\u0012port")
    await terminal.shows(
      "the line that was found",
      ({ rows }) => rows.at(-1)?.includes("READ docs/report.txt") === true
    )
    terminal.type("\r")
    await terminal.shows(
      "the report again",
      ({ rows }) => rows.filter((row) => row === "the report").length === 2 && rows.at(-1) === prompt.trimEnd()
    )
    await leave(terminal)
  })

  it("asks before it replaces a file: yes, no, all, none, and again after anything else", async () => {
    const terminal = await sitDown()
    const names = ["1.txt", "2.txt", "3.txt", "4.txt"]
    await script(names.map((name) => `WRITE asked/${name} theirs`))
    const here = path.join(folder, "asked")
    const download = async (...answers: ReadonlyArray<string>) => {
      await mkdir(here, { recursive: true })
      for (const name of names) await writeFile(path.join(here, name), "mine")
      terminal.type("DOWNLOAD asked/ asked -r --overwrite ask\r")
      for (const answer of answers) {
        await terminal.sees("eplace ")
        await terminal.sees(": ")
        terminal.type(`${answer}\r`)
      }
      await terminal.sees("downloaded")
      await terminal.sees(prompt)
      const contents = await Promise.all(names.map((name) => readFile(path.join(here, name), "utf8")))
      return contents.map((content) => content === "theirs" ? "y" : "n").join("")
    }
    assert.strictEqual(await download("yes", "no", "y", "n"), "ynyn")
    assert.strictEqual(await download("no", "ALL"), "nyyy")
    assert.strictEqual(await download("yes", "none"), "ynnn")
    assert.strictEqual(await download("never"), "nnnn")
    assert.strictEqual(await download("perhaps", "", "no", "all"), "nyyy")
    // Whoever leaves the question has answered none.
    await writeFile(path.join(here, "1.txt"), "mine")
    terminal.type("DOWNLOAD asked/ asked -r --overwrite ask\r")
    await terminal.sees("eplace ")
    terminal.type(CTRL_C)
    await terminal.sees("cancelled")
    await terminal.sees(prompt)
    assert.strictEqual(await readFile(path.join(here, "1.txt"), "utf8"), "mine")
    await leave(terminal)
  })

  it("asks before MIRROR deletes, and DELETE what a pattern names; a no does nothing", async () => {
    const terminal = await sitDown()
    const here = path.join(folder, "mirrored")
    await mkdir(here, { recursive: true })
    for (const name of ["1.txt", "2.txt"]) await writeFile(path.join(here, name), name)
    await script(["WRITE mirrored/1.txt 1.txt", "WRITE mirrored/3.txt 3.txt"])
    terminal.type("MIRROR mirrored/ ./mirrored --delete\r")
    await terminal.sees("1 file here? [y/N] ")
    terminal.type("\r")
    await terminal.sees("nothing was done")
    await terminal.sees(prompt)
    assert.deepStrictEqual((await readdir(here)).sort(), ["1.txt", "2.txt"])
    terminal.type("MIRROR mirrored/ ./mirrored --delete\r")
    await terminal.sees("1 file here? [y/N] ")
    terminal.type("yes\r")
    await terminal.sees("mirrored mirrored/ to ./mirrored")
    await terminal.sees(prompt)
    assert.deepStrictEqual((await readdir(here)).sort(), ["1.txt", "3.txt"])
    terminal.type("DELETE mirrored/*.txt\r")
    await terminal.sees("mirrored/3.txt")
    await terminal.sees("delete 2 files (10 B)? [y/N] ")
    terminal.type("n\r")
    await terminal.sees("nothing was deleted")
    await terminal.sees(prompt)
    await leave(terminal)
    const rm = new Terminal(["rm", "-r", `localhost:${server.port}:mirrored/`], {
      cwd: folder,
      env: { ...environment, ...user }
    })
    await rm.sees("delete 2 files (10 B)? [y/N] ")
    rm.type("y\r")
    await rm.sees("deleted 2 files")
    assert.strictEqual(await rm.end, 0)
  })

  it("stops a long result at the end of the screen, and goes on when told", async () => {
    const terminal = await sitDown({ rows: 10 })
    terminal.type("HELP\r")
    await terminal.sees("-- more")
    assert.notInclude(terminal.text, "QUERY STORAGE")
    terminal.type(" ")
    await terminal.sees("-- more")
    terminal.type("q")
    await terminal.sees(prompt)
    assert.notInclude(terminal.text, "QUERY STORAGE")
    terminal.type("PWD\r")
    await terminal.sees("/\r\n")
    await leave(terminal)
    const unpaged = await sitDown({ rows: 10, env: { FIP_PAGER: "off" } })
    unpaged.type("HELP\r")
    await unpaged.sees("QUERY STORAGE")
    await unpaged.sees(prompt)
    await leave(unpaged)
  })

  it("shows a long result in a pager of one's own, and has the terminal back whatever becomes of it", async () => {
    const pager = path.join(folder, "pager")
    await writeFile(
      pager,
      "#!/bin/sh\nwhile read -r line; do echo \"P:$line\"; done\n" +
        "printf 'goes on? '\nread -r answer < /dev/tty\necho \"answered $answer\"\n",
      { mode: 0o755 }
    )
    const name = "paged/$(touch injected) `touch injected`; touch injected"
    await script(Array.from({ length: 12 }, (_, index) => `WRITE '${name} ${index + 10}' x`))
    const terminal = await sitDown({ rows: 10, env: { PAGER: pager } })
    const paged = async (answer: string) => {
      terminal.type("LIST paged/\r")
      await terminal.sees(`P:${name} 10`)
      await terminal.sees(`P:${name} 21`)
      await terminal.sees("goes on? ")
      terminal.type(answer)
    }
    await paged("yes\r")
    await terminal.sees("answered yes")
    await terminal.sees(prompt)
    // Ctrl-C ends the pager, not the shell; and keys are the shell's again.
    await paged(CTRL_C)
    await terminal.sees(prompt)
    terminal.type("pw")
    await terminal.sees("pw")
    terminal.type(TAB)
    await terminal.sees("d ")
    terminal.type("\r")
    await terminal.sees("/\r\n")
    await terminal.sees(prompt)
    assert.notInclude(terminal.unseen, "P:")
    await leave(terminal)
    const early = await sitDown({ rows: 10, env: { PAGER: pager, FIP_PAGER: "head -n 1" } })
    early.type("LIST paged/\r")
    await early.sees(`${name} 10\r\n`)
    await early.sees(prompt)
    await leave(early)
    const absent = await sitDown({ rows: 10, env: { PAGER: "no-such-pager-here" } })
    absent.type("LIST paged/\r")
    await absent.sees("cannot be run (it ended with status 127)")
    await absent.sees(prompt)
    await leave(absent)
    assert.notInclude(await readdir(folder), "injected")
  })

  // Last, because it takes the server away for a while.
  it("says that the server is gone, and goes on in the same session when it is there again", async () => {
    const terminal = await sitDown()
    terminal.type("LIS")
    await terminal.sees("LIS")
    await server.stop("SIGKILL")
    await terminal.sees("the connection is lost")
    await terminal.sees(`${prompt}LIS`)
    server = await startServer(server.port)
    await terminal.sees(`connected to localhost:${server.port} again`)
    await terminal.sees(`${prompt}LIS`)
    terminal.type("T\r")
    await terminal.sees("notes.txt")
    await terminal.sees(prompt)
    await leave(terminal)
  })
})
