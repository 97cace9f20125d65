/** The shell at a real terminal, in front of a real server. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { readFile, stat, truncate, writeFile } from "node:fs/promises"
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

  it("draws the line anew when the terminal is resized", async () => {
    const terminal = await sitDown()
    const typed = "READ a-name-that-is-longer-than-the-terminal-will-be"
    terminal.type(typed)
    await terminal.sees(typed)
    await terminal.resize(40)
    await terminal.sees(`${prompt}${typed}`)
    terminal.type(CTRL_C)
    await terminal.sees(prompt)
    await leave(terminal)
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
