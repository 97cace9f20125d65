/** OpenSSH's sftp against its own sshd on loopback, with keys made for the run. */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir } from "node:fs/promises"
import { connect, createServer } from "node:net"
import { userInfo } from "node:os"
import { join } from "node:path"
import { command } from "../Timing.ts"

const SSHD = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"].find((path) => existsSync(path))
export const CIPHER = "aes128-gcm@openssh.com"

/** For a host key that was made a moment ago. */
export const QUIET = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"]

export interface Sftp {
  readonly pid: number
  readonly port: number
  readonly user: string
  /** The private key that the daemon takes. */
  readonly key: string
  /** Runs lines of an sftp batch; through another port, where something stands before the daemon. */
  readonly batch: (lines: string, port?: number) => Promise<void>
  readonly stop: () => void
}

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy()
      resolve(true)
    })
    socket.on("error", () => resolve(false))
  })

/** `undefined` when OpenSSH is not installed. */
export const startSftp = async (folder: string): Promise<Sftp | undefined> => {
  if (SSHD === undefined) return undefined
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const hostKey = join(folder, "host_key")
  const userKey = join(folder, "user_key")
  await command("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", hostKey])
  await command("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", userKey])
  if (process.getuid?.() === 0) await mkdir("/run/sshd", { recursive: true })
  const port = await freePort()
  const options = [
    `HostKey=${hostKey}`,
    `AuthorizedKeysFile=${userKey}.pub`,
    "ListenAddress=127.0.0.1",
    "StrictModes=no",
    "UsePAM=no",
    "PidFile=none",
    "PermitRootLogin=prohibit-password",
    "Subsystem=sftp internal-sftp"
  ]
  const daemon = spawn(SSHD, ["-D", "-f", "/dev/null", "-p", String(port), ...options.flatMap((o) => ["-o", o])], {
    stdio: "ignore"
  })
  const deadline = performance.now() + 10_000
  while (!await accepts(port)) {
    if (performance.now() > deadline || daemon.exitCode !== null) throw new Error("sshd did not start")
    await new Promise((resume) => setTimeout(resume, 50))
  }
  const user = userInfo().username
  const client = ["-q", "-i", userKey, "-c", CIPHER, ...QUIET.flatMap((option) => ["-o", option])]
  return {
    pid: daemon.pid ?? 0,
    port,
    user,
    key: userKey,
    batch: async (lines, by = port) =>
      void await command("sftp", [...client, "-P", String(by), "-b", "-", `${user}@127.0.0.1`], { input: lines }),
    stop: () => void daemon.kill()
  }
}
