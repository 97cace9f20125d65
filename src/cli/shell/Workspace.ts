/**
 * What the lines of one shell have in common: the folder on the server that names are relative to, and the aliases.
 *
 * The folder is a matter of the shell alone: the server is never told. It is applied once, where an argument is parsed,
 * so that a command that runs in the background keeps the folder that it was started in.
 */
import { Context, Result } from "effect"
import type { Username } from "../../protocol/Identity.ts"
import type { Word } from "./Tokenizer.ts"

export interface RemoteFolder {
  /** `undefined`: one's own. */
  readonly owner: Username | undefined
  /** Ends in `/`, or is empty for everything. */
  readonly prefix: string
}

export const TOP: RemoteFolder = { owner: undefined, prefix: "" }

export interface Alias {
  /** As it was written. */
  readonly text: string
  readonly words: ReadonlyArray<Word>
}

export class WorkspaceState {
  folder: RemoteFolder = TOP
  /** Where CD came from, for `CD -`. */
  previous: RemoteFolder = TOP
  /** By name in lower case. */
  readonly aliases = new Map<string, Alias>()
}

/** The shell provides one of its own; where there is no shell, names are relative to everything of one's own. */
export const Workspace = Context.Reference<WorkspaceState>("fip/cli/shell/Workspace", {
  defaultValue: () => new WorkspaceState()
})

/** The folder as one would type it. */
export const formatFolder = ({ owner, prefix }: RemoteFolder): string =>
  owner === undefined ? prefix === "" ? "/" : prefix : `~${owner}/${prefix}`

const OWN = /^(?:~(?:me)?(?:\/|$)|\/)/i

/**
 * A name as it was typed in a folder, as one that means the same everywhere. `/x`, `~/x` and `~me/x` begin with one's own
 * files, `~alice/x` with hers, and anything else in the folder, where `.` and `..` are understood. The failure is a
 * sentence.
 */
export const inFolder = (folder: RemoteFolder, text: string): Result.Result<string, string> => {
  const own = OWN.exec(text)
  if (own !== null) return Result.succeed(text.slice(own[0].length) || "/")
  if (text.startsWith("~") || text === "") return Result.succeed(text)
  const parts = folder.prefix.split("/").slice(0, -1)
  const typed = text.split("/")
  for (const part of typed.at(-1) === "" ? typed.slice(0, -1) : typed) {
    if (part === ".") continue
    if (part !== "..") parts.push(part)
    else if (parts.pop() === undefined) {
      return Result.fail(`there is nothing above ${formatFolder({ ...folder, prefix: "" })}`)
    }
  }
  const isFolder = /(?:^|\/)\.{0,2}$/.test(text)
  const path = `${parts.join("/")}${isFolder && parts.length > 0 ? "/" : ""}`
  return Result.succeed(folder.owner === undefined ? path || "/" : `~${folder.owner}/${path}`)
}
