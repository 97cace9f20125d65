/**
 * What the words of a line stand for: the one annotation by which completion, here and in people's own shells, knows
 * what could be there. It is the metavar of an argument or a flag, so the help document carries it as `type`.
 *
 * A kind with `|` in it names all its values: `name|size|time`.
 */
export const ValueKind = {
  /** A file or a folder on the server. */
  FILE: "file",
  /** A folder on the server. */
  FOLDER: "folder",
  /** A file or a folder of this machine. */
  LOCAL: "local",
  LOCAL_FOLDER: "local-folder",
  USER: "user",
  COMMAND: "command",
  ALIAS: "alias",
  JOB: "job"
} as const
