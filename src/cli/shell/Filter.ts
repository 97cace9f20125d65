/**
 * Which files of a tree take part: `--exclude` and `--include`, each as often as one likes.
 *
 * A pattern without `/` is about the name of a file or folder wherever it is; one with a `/` is about a path below the
 * tree's root; one that ends in `/` is about folders only. What is below an excluded folder is excluded, too. With
 * `--include`, only what one of those names takes part, or is below what one names. `--exclude` has the last word.
 */
import { Flag } from "effect/cli"
import { type Glob, parseGlob } from "./Glob.ts"

const patterns = (name: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withMetavar("pattern"),
    Flag.filter((text) => text.replaceAll("/", "") !== "", () => "a pattern such as *.tmp, cache/ or docs/**/*.md"),
    Flag.withDescription(description),
    Flag.atLeast(0)
  )

/** The flags of every command that moves trees. */
export const filterFlags = {
  exclude: patterns("exclude", "leave out files and folders of such a name or path; as often as you like"),
  include: patterns("include", "only files and folders of such a name or path; as often as you like")
}

export interface Filter {
  /** Whether a file takes part; its name is below the root. */
  readonly keeps: (name: string) => boolean
  /** False when nothing below a folder takes part. */
  readonly enters: (folder: string) => boolean
}

export const everything: Filter = { keeps: () => true, enters: () => true }

interface Pattern {
  readonly glob: Glob
  readonly anywhere: boolean
  readonly foldersOnly: boolean
}

const parsePattern = (text: string): Pattern => {
  const foldersOnly = text.endsWith("/")
  const inner = text.replace(/^\/+|\/+$/g, "")
  const anywhere = !inner.includes("/") && !text.startsWith("/")
  return { glob: parseGlob(inner, { dot: true }), anywhere, foldersOnly }
}

/** Whether a pattern names the path, or a folder that it is in. */
const names = ({ anywhere, foldersOnly, glob }: Pattern, parts: ReadonlyArray<string>, isFolder: boolean): boolean => {
  for (let depth = 1; depth <= parts.length; depth++) {
    if (depth === parts.length && foldersOnly && !isFolder) return false
    if (glob.matches(anywhere ? parts.slice(depth - 1, depth) : parts.slice(0, depth))) return true
  }
  return false
}

export const makeFilter = (
  options: { readonly exclude: ReadonlyArray<string>; readonly include: ReadonlyArray<string> }
): Filter => {
  if (options.exclude.length + options.include.length === 0) return everything
  const exclude = options.exclude.map(parsePattern)
  const include = options.include.map(parsePattern)
  return {
    keeps: (name) => {
      const parts = name.split("/")
      return !exclude.some((pattern) => names(pattern, parts, false)) &&
        (include.length === 0 || include.some((pattern) => names(pattern, parts, false)))
    },
    enters: (folder) => {
      const parts = folder.split("/")
      return !exclude.some((pattern) => names(pattern, parts, true))
    }
  }
}
