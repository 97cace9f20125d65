/** Commands that share files with other people. */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
import { formatFileRef, parseFileName } from "../../../protocol/FileName.ts"
import { formatTime } from "../format.ts"
import { duration, lockDuration, role, shareable, shareableTarget, target, targetOf, user } from "../inputs.ts"
import { shellCommand } from "../ShellCommand.ts"
import { WRITTEN, written } from "./files.ts"

const grant = shellCommand({
  name: "GRANT",
  summary: "Let somebody read, edit or manage a file or a folder; granting again replaces role and time",
  examples: [
    { command: "GRANT bob_jones notes.txt READ" },
    { command: "GRANT bob_jones docs/plan.md EDIT --duration 7d" },
    { command: "GRANT bob_jones docs/ EDIT", description: "all that is in docs/, now and later, and new files there" }
  ],
  json: "`owner`, `name`, `username`, `role`, `granted_by`, `granted_at`; `expires_at` unless permanent",
  input: { user: user("who gets the role"), file: shareable, role, duration },
  run: Effect.fnUntraced(function*({ duration, file, role, user }) {
    const client = yield* FipClient
    const result = yield* client.grant(user, file, role, { durationMs: duration })
    const until = result.expires_at === undefined ? "" : ` until ${formatTime(result.expires_at)}`
    return { code: "1:gnt", message: `${user} may ${role} ${formatFileRef(file)}${until}`, result }
  })
})

const revoke = shellCommand({
  name: "REVOKE",
  summary: "Take back what was granted to somebody",
  examples: [{ command: "REVOKE bob_jones notes.txt" }, { command: "REVOKE bob_jones docs/" }],
  json: "`owner`, `name`, `username`, `role` (the one that was taken back); `remaining` (`role`, and `through`, the " +
    "folder that gives it) if the user may still do something",
  input: { user: user("who loses the role"), ...shareableTarget },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.revoke(input.user, file)
    const { remaining, role } = result
    const name = formatFileRef(file)
    const message = remaining === undefined
      ? `${input.user} may no longer ${role} ${name}`
      : remaining.through === undefined
      ? `${input.user} lost ${role} on ${name}, and may still ${remaining.role} it: it is public`
      : `${input.user} lost ${role} on ${name}, and may still ${remaining.role} it, through ${
        formatFileRef({ owner: file.owner, name: remaining.through })
      }`
    return { code: "1:rvk", message, result }
  })
})

const publicise = shellCommand({
  name: "PUBLICISE",
  summary: "Let every account on the server read a file, or all of a folder",
  examples: [{ command: "PUBLICISE handbook.pdf" }, { command: "PUBLICISE public/" }],
  json: "`owner`, `name`, `public`",
  input: shareableTarget,
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.publicise(file)
    return { code: "1:pub", message: `everybody may read ${formatFileRef(file)}`, result }
  })
})

const hide = shellCommand({
  name: "HIDE",
  summary: "End what PUBLICISE began; grants stay as they are",
  examples: [{ command: "HIDE handbook.pdf" }],
  json: "`owner`, `name`, `public`",
  input: shareableTarget,
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.hide(file)
    return { code: "1:hide", message: `${formatFileRef(file)} is public no more`, result }
  })
})

const transfer = shellCommand({
  name: "TRANSFER",
  summary: "Make somebody else the owner of a file; you stay a manager of it",
  examples: [
    { command: "TRANSFER bob_jones notes.txt" },
    { command: "TRANSFER bob_jones notes.txt --as from-alice.txt", description: "when Bob has a notes.txt already" }
  ],
  json: WRITTEN,
  input: {
    user: user("the new owner"),
    ...target,
    as: Flag.String("as").pipe(
      Flag.withMetavar("name"),
      Flag.filterMap((text) => Option.getSuccess(parseFileName(text)), () => "a file name"),
      Flag.withDescription("its name among the new owner's files"),
      Flag.optional
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.transfer(input.user, file, { newName: Option.getOrUndefined(input.as) })
    return written("1:sft", `gave ${formatFileRef(file)} to ${input.user}`, result)
  })
})

const lock = shellCommand({
  name: "LOCK",
  summary: "Keep others from changing a file for a while; again by you: from now on for so long",
  examples: [{ command: "LOCK docs/plan.md" }, { command: "LOCK ~alice/docs/plan.md --for 1h" }],
  json: "`owner`, `name`, `locked_by`, `locked_until`",
  input: { ...target, for: lockDuration },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.lock(file, { durationMs: input.for })
    return {
      code: "1:lock",
      message: `only you can change ${formatFileRef(file)} until ${formatTime(result.locked_until)}`,
      result
    }
  })
})

const unlock = shellCommand({
  name: "UNLOCK",
  summary: "Let others change a file again that you have locked",
  examples: [
    { command: "UNLOCK docs/plan.md" },
    { command: "UNLOCK docs/plan.md --force", description: "of your file, whoever has locked it" }
  ],
  json: "`owner`, `name`, `unlocked` (whose lock was ended; absent when there was none)",
  input: {
    ...target,
    force: Flag.Boolean("force").pipe(
      Flag.withDescription("end somebody else's lock of your file"),
      Flag.withDefault(false)
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.unlock(file, { force: input.force ? true : undefined })
    const name = formatFileRef(file)
    const message = result.unlocked === undefined ? `${name} was not locked` : `${name} is not locked any more`
    return { code: "1:unlk", message, result }
  })
})

export const sharingCommands = [grant, revoke, publicise, hide, transfer, lock, unlock] as const
