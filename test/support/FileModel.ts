/**
 * What one user's files are: contents by name, of every version; changes chosen at random, and what they make of them.
 *
 * Of a change that was asked for and not answered, both outcomes are right until somebody looks.
 */
import { createHash } from "node:crypto"
import { Sha256 } from "../../src/protocol/Identity.ts"
import type { UploadMode } from "../../src/protocol/Request.ts"
import type { Random } from "./Random.ts"

/** Every version from the first on. */
export type Files = ReadonlyMap<string, ReadonlyArray<Buffer>>

interface Putting {
  readonly name: string
  readonly mode: UploadMode
  readonly content: Buffer
  /** With `patch`. */
  readonly position: number
}
export type Change =
  | { readonly do: "put" } & Putting
  | { readonly do: "upload" } & Putting
  | { readonly do: "delete"; readonly name: string }
  | { readonly do: "rename" | "copy"; readonly name: string; readonly to: string }
  | { readonly do: "restore"; readonly name: string; readonly version: number }

const NAMES = ["a", "b", "docs/c", "docs/d"] as const

/** A file with so many versions is deleted rather than changed once more. */
const MAX_VERSIONS = 6

export const sha256 = (content: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(content).digest("hex"))

export const currentOf = (files: Files, name: string): Buffer => files.get(name)?.at(-1) ?? Buffer.alloc(0)

/** What the owner is charged for. */
export const usageOf = (files: Files) => ({
  bytes: [...files.keys()].reduce((sum, name) => sum + currentOf(files, name).length, 0),
  files: files.size
})

/** A change that is not refused. `lengthOf`: how much content it has. */
export const chooseChange = (
  files: Files,
  random: Random,
  lengthOf: (random: Random, doing: "put" | "upload") => number
): Change => {
  const name = random.pick(NAMES)
  const versions = files.get(name)
  const to = NAMES.find((other) => !files.has(other))
  const doing = random.pick<"put" | "upload">(["put", "put", "put", "upload"])
  const put = (mode: UploadMode, position: number): Change => {
    return { do: doing, name, mode, content: random.bytes(lengthOf(random, doing)), position }
  }
  if (versions === undefined) return put(random.pick(["create", "write"]), 0)
  if (versions.length >= MAX_VERSIONS || random.chance(0.08)) return { do: "delete", name }
  if (to !== undefined && random.chance(0.15)) return { do: random.pick(["rename", "copy"]), name, to }
  if (random.chance(0.08)) {
    // Older ones may have been dropped.
    return { do: "restore", name, version: Math.max(1, versions.length - random.below(2)) }
  }
  const mode = random.pick<UploadMode>(["write", "replace", "append", "append", "patch", "patch"])
  return put(mode, mode === "patch" ? random.below(currentOf(files, name).length + 1) : 0)
}

/** What a change makes of the files. */
export const afterChange = (files: Files, change: Change): Files => {
  const next = new Map(files)
  const versions = files.get(change.name) ?? []
  switch (change.do) {
    case "put":
    case "upload": {
      const { content, mode } = change
      const current = currentOf(files, change.name)
      const at = mode === "append" ? current.length : change.position
      const whole = mode === "append" || mode === "patch"
        ? Buffer.concat([current.subarray(0, at), content, current.subarray(at + content.length)])
        : content
      return next.set(change.name, [...versions, whole])
    }
    case "delete":
      next.delete(change.name)
      return next
    case "rename":
      next.delete(change.name)
      return next.set(change.to, versions)
    case "copy":
      return next.set(change.to, [currentOf(files, change.name)])
    case "restore":
      return next.set(change.name, [...versions, versions[change.version - 1] ?? Buffer.alloc(0)])
  }
}

/** What is found of a user's files: contents by name and version. */
export type Found = ReadonlyMap<string, ReadonlyMap<number, Buffer>>

/** True when every file is there, with its current version, and every version that is there is what it was. */
export const isSame = (found: Found, files: Files): boolean =>
  found.size === files.size && [...found].every(([name, versions]) => {
    const known = files.get(name)
    return known !== undefined && versions.has(known.length) &&
      [...versions].every(([version, content]) => known[version - 1]?.equals(content) === true)
  })

/** For a person: what there is. */
export const summary = (files: Files | Found): string =>
  [...files].toSorted(([a], [b]) => a < b ? -1 : 1).map(([name, versions]) => {
    const line = [...versions.entries()].map(([key, content]) =>
      `${key}: ${content.length} ${sha256(content).slice(0, 8)}`
    )
    return `${name}: ${line.join(", ")}`
  }).join("\n")
