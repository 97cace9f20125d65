/**
 * Which requests are worth remembering. Pure, and asked for every request that was answered: what happens most, people
 * at work on their own files, is told apart first.
 *
 * Remembered are: what people do to their accounts and to who may do what; reads and writes of other people's files;
 * removal and renaming; what was denied; content that turned out damaged. A wrong password is not here: the guard knows
 * more about it (`Guard.ts`).
 */
import { Predicate } from "effect"
import { type BodyOf, type RequestName, Requests } from "../../protocol/Request.ts"
import type { Answered } from "../Connection.ts"
import type { Activity, Detail } from "./Activity.ts"

/** Fields of a body that say what was done. None of them is secret. */
const DETAILS = ["username", "role", "duration_ms", "new_name", "session_id"] as const

const detailOf = (body: BodyOf<RequestName> | undefined): Detail => {
  const detail: Record<string, string | number> = {}
  if (body === undefined) return detail
  for (const key of DETAILS) {
    if (!Predicate.hasProperty(body, key)) continue
    const value = body[key]
    if (typeof value === "string" || typeof value === "number") detail[key] = value
  }
  return detail
}

interface Target {
  readonly owner: string | undefined
  readonly name: string
}

/** The file that it was about: as it is named now, so that it is found again. A copy was of the file it came from. */
const targetOf = ({ body, caller, request, result }: Answered): Target | undefined => {
  if (request !== "Copy" && result !== undefined && "name" in result) return result
  return body !== undefined && "name" in body
    ? { owner: body.owner ?? caller?.username, name: body.name }
    : undefined
}

const isSame = (a: string | undefined, b: string | undefined): boolean => a?.toLowerCase() === b?.toLowerCase()

/** What is to be remembered of a request; `undefined`: nothing. */
export const activityOf = (address: string, answered: Answered): Activity | undefined => {
  const { body, caller, code, identity, millis, request } = answered
  const kept = Requests[request].remembered
  const isDone = code.startsWith("1:")
  if (isDone ? kept === undefined : code !== "2:perm" && code !== "2:nf" && code !== "3:bad") return undefined
  const target = targetOf(answered)
  const isForeign = target !== undefined && !isSame(target.owner, caller?.username)
  if (isDone && kept?.when === "foreign" && !isForeign) return undefined
  // One's own file that is not there is a slip; somebody else's may be a try.
  if (code === "2:nf" && !isForeign) return undefined
  const detail = detailOf(body)
  return {
    action: request,
    code,
    says: isDone && kept !== undefined
      ? kept.says
      : code === "3:bad"
      ? "stored content is damaged"
      : `${request} denied`,
    userId: caller?.userId,
    username: caller?.username ?? identity,
    address,
    owner: target?.owner,
    name: target?.name,
    movedFrom: isDone && (request === "Rename" || request === "Transfer") && body !== undefined && "name" in body
      ? { owner: "owner" in body ? body.owner ?? caller?.username : caller?.username, name: body.name }
      : undefined,
    durationMillis: Math.round(millis),
    suspicious: code === "3:bad",
    notable: isDone && kept?.notable === true,
    detail: request === "Rename" && body !== undefined && "name" in body
      ? { ...detail, old_name: body.name }
      : detail
  }
}

/** As what each file of a batch is remembered: the request that it stands for. */
const singleOf = (body: BodyOf<RequestName> | undefined): RequestName => {
  if (body === undefined || !("files" in body)) return "Read"
  return body.mode === "create" ? "Create" : body.mode === "replace" ? "Replace" : "Write"
}

/** What is to be remembered of a request: of a batch, what would be of each of its files by itself. */
export const activitiesOf = (address: string, answered: Answered): ReadonlyArray<Activity> => {
  const { body, caller, result } = answered
  if (result === undefined || !("owner" in result && "files" in result)) {
    const activity = activityOf(address, answered)
    return activity === undefined ? [] : [activity]
  }
  const { files, owner } = result
  const isOwn = isSame(owner, caller?.username)
  const request = singleOf(body)
  return files.flatMap((file) => {
    const code = "code" in file ? file.code : "1:many"
    if (isOwn && code === "1:many") return []
    const { name } = file
    const activity = activityOf(address, { ...answered, request, code, body: { owner, name }, result: undefined })
    return activity === undefined ? [] : [activity]
  })
}
