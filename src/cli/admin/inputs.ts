/** The arguments and flags that several admin commands share, checked where they are parsed. */
import { Option, Result, Schema } from "effect"
import { Argument, Flag } from "effect/cli"
import { SessionId, Username } from "../../protocol/Identity.ts"
import { parseDuration } from "../shell/inputs.ts"

const asUsername = Schema.decodeUnknownOption(Username)

export const user = (description: string) =>
  Argument.String("user").pipe(
    Argument.filterMap(asUsername, () => "a user name: 4 to 64 letters, digits, _ and -"),
    Argument.withDescription(description)
  )

export const session = Argument.String("session").pipe(
  Argument.filterMap(Schema.decodeUnknownOption(SessionId), () => "a session's id (fip admin sessions list)"),
  Argument.withDescription("the session's id"),
  Argument.optional
)

export const userFlag = Flag.String("user").pipe(
  Flag.filterMap(asUsername, () => "a user name: 4 to 64 letters, digits, _ and -"),
  Flag.withMetavar("user"),
  Flag.optional
)

/** 1 or more. */
export const wholeNumber = (text: string): Option.Option<number> =>
  /^[1-9]\d{0,8}$/.test(text) ? Option.some(Number(text)) : Option.none()

/** `--for 7d`, in milliseconds; `undefined` for `permanent`. */
export const lasting = (description: string) =>
  Flag.String("for").pipe(
    Flag.withMetavar("time"),
    Flag.filterMap(
      (text) => Result.getSuccess(parseDuration(text)),
      () => "a time such as 30s, 15m, 2h, 7d, 2w, or permanent"
    ),
    Flag.withDescription(description)
  )

const BYTES = new Map([["", 1], ["kib", 1024], ["mib", 1024 ** 2], ["gib", 1024 ** 3], ["tib", 1024 ** 4]])

/** `10GiB`, `500 MiB`, `1048576`, or `default`. */
const parseBytes = (text: string): Option.Option<number | "default"> => {
  if (text.toLowerCase() === "default") return Option.some("default")
  const [, digits = "", unit = ""] = /^(\d{1,16})\s*([kmgt]ib)?$/i.exec(text) ?? []
  const bytes = Number(digits) * (BYTES.get(unit.toLowerCase()) ?? Number.NaN)
  return digits !== "" && Number.isSafeInteger(bytes) ? Option.some(bytes) : Option.none()
}

const parseCount = (text: string): Option.Option<number | "default"> => {
  if (text.toLowerCase() === "default") return Option.some("default")
  const count = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(count) ? Option.some(count) : Option.none()
}

export const bytesLimit = Flag.String("bytes").pipe(
  Flag.withMetavar("size"),
  Flag.filterMap(parseBytes, () => "a size such as 500MiB, 10GiB or 1048576, or default"),
  Flag.withDescription("how much the user may keep: 500MiB, 10GiB, a number of bytes, or default"),
  Flag.optional
)

export const filesLimit = Flag.String("files").pipe(
  Flag.withMetavar("n"),
  Flag.filterMap(parseCount, () => "a number of files, or default"),
  Flag.withDescription("how many files the user may keep, or default"),
  Flag.optional
)
