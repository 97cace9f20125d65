/** Short commands, the way to a prompt, and a server's start: whole processes, what a person waits for. */
import { spawn, spawnSync } from "node:child_process"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { PASSWORD, program, startFip, USER } from "./FipProcess.ts"
import { startSftp } from "./peers/sftp.ts"
import { command, inTurns, table } from "./Timing.ts"

const rate = (seconds: number) => `${(1 / seconds).toFixed(1)} /s`

/** Runs a command until it says something; ends it then. */
const until = (
  file: string,
  args: ReadonlyArray<string>,
  words: string,
  env: NodeJS.ProcessEnv,
  onShown: () => void
): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ["pipe", "pipe", "inherit"] })
    let shown = ""
    child.on("error", reject)
    child.on("close", () =>
      shown.includes(words) ? resolve() : reject(new Error(`${file} ended without "${words}":\n${shown}`)))
    child.stdout.on("data", (chunk) => {
      const before = shown.includes(words)
      shown += chunk
      if (before || !shown.includes(words)) {
        return
      }
      onShown()
      // A terminal's end of input; a server takes the signal.
      child.stdin.end("\u0004")
      child.kill("SIGTERM")
    })
  })

const row = (name: string, all: ReadonlyArray<number>) => {
  const sorted = all.toSorted((a, b) => a - b)
  const [low = 0, mid = 0, high = 0] = [sorted[0], sorted[Math.floor(sorted.length / 2)], sorted.at(-1)]
  return `| ${name} | ${(mid / 1000).toFixed(2)} s | ${(low / 1000).toFixed(2)}–${(high / 1000).toFixed(2)} s |`
}

const starts = async (folder: string, rounds: number): Promise<string> => {
  const dataDir = join(folder, "data")
  const env = { FIP_USERNAME: USER, FIP_PASSWORD: PASSWORD, XDG_STATE_HOME: join(folder, "state"), TERM: "xterm" }
  const isTerminal = spawnSync("script", ["--version"]).stdout?.includes("util-linux") ?? false
  const serve = ["serve", "0", "--data-dir", dataDir, "--log-level", "warn"]
  const millis: Record<"server" | "prompt", Array<number>> = { server: [], prompt: [] }
  const timed = async (
    what: "server" | "prompt",
    round: number,
    file: string,
    args: ReadonlyArray<string>,
    words: string
  ) => {
    const begin = performance.now()
    await until(file, args, words, env, () => {
      if (round >= 0) millis[what].push(performance.now() - begin)
    })
  }
  for (let round = -1; round < rounds; round++) {
    await timed("server", round, process.execPath, [program(), ...serve], "listening on")
  }
  if (isTerminal) {
    const fip = await startFip(join(folder, "prompts"))
    for (let round = -1; round < rounds; round++) {
      const line = [
        process.execPath,
        program(),
        "connect",
        "127.0.0.1",
        fip.port,
        "--known-hosts",
        join(folder, "prompts", "known_hosts")
      ]
      await timed("prompt", round, "script", ["-qefc", line.join(" "), "/dev/null"], `${fip.port}> `)
    }
    await fip.stop()
  }
  return [
    "| from its start to | median | spread |",
    "| --- | --- | --- |",
    row("`fip serve` listening, embedded database, not the first time", millis.server),
    ...isTerminal ? [row("the prompt of `fip connect`, with a login", millis.prompt)] : []
  ].join("\n")
}

export const start = async (folder: string, rounds: number): Promise<string> => {
  const fip = await startFip(folder)
  const sftp = await startSftp(join(folder, "sftp"))
  const own = { XDG_CONFIG_HOME: join(folder, "config"), XDG_STATE_HOME: join(folder, "state") }
  await mkdir(own.XDG_STATE_HOME, { mode: 0o700 })
  const server = `${USER}@127.0.0.1:${fip.port}`
  const oneLine = (...words: ReadonlyArray<string>) =>
    command(process.execPath, [program(), ...words, "--known-hosts", join(folder, "known_hosts")], { env: own })
  const withLogin = (...words: ReadonlyArray<string>) =>
    command(
      process.execPath,
      [program(), "connect", "127.0.0.1", String(fip.port), "--known-hosts", join(folder, "known_hosts"), ...words],
      { env: { FIP_USERNAME: USER, FIP_PASSWORD: PASSWORD } }
    )
  try {
    await command(process.execPath, [program(), "login", server, "--known-hosts", join(folder, "known_hosts")], {
      env: { ...own, FIP_PASSWORD: PASSWORD }
    })
    const rows = await inTurns([
      {
        name: "`fip ls`, with the session of `fip login`",
        servers: [fip.pid],
        run: async () => void await oneLine("ls", `${server}:`)
      },
      {
        name: "`fip connect -- LIST`, with a login",
        servers: [fip.pid],
        run: async () => void await withLogin("--", "LIST")
      },
      ...sftp === undefined
        ? []
        : [{ name: "`sftp` connecting, `pwd`", servers: [sftp.pid], run: () => sftp.batch("pwd\n") }]
    ], rounds)
    await fip.stop()
    return ["### One short command", table(rows, rate), "### Starts", await starts(folder, rounds)].join("\n\n")
  } finally {
    sftp?.stop()
  }
}
