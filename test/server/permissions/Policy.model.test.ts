/**
 * The policy alone, without a database, against the same model as `Permissions.model.test.ts`: the facts of a moment are
 * those of the model, and what the policy concludes from them has to be what comes of the attempt.
 *
 *     FIP_TEST_HISTORIES=100000 npx vitest run test/server/permissions/Policy.model.test.ts
 */
import { assert, it } from "@effect/vitest"
import { Username } from "../../../src/protocol/Identity.ts"
import type { GrantRole } from "../../../src/protocol/Permission.ts"
import {
  type Action,
  deny,
  denyLocked,
  type Facts,
  holds,
  type Lock,
  roleOf
} from "../../../src/server/permissions/Policy.ts"
import { Random } from "../../support/Random.ts"
import { nextAttempt } from "./histories.ts"
import { type Attempt, FOLDERS, NAMES, PEOPLE, SharingModel, type Timed } from "./SharingModel.ts"

const HISTORIES = Number(process.env["FIP_TEST_HISTORIES"] ?? 3000)
const SEED = Number(process.env["FIP_TEST_SEED"] ?? 1)
const STEPS = 10

const role = (random: Random): GrantRole => random.pick<GrantRole>(["READ", "EDIT", "MANAGE"])

const someGrants = (random: Random, grants: Map<number, Timed>): void => {
  for (let user = 0; user < PEOPLE; user++) {
    if (random.chance(0.35)) {
      grants.set(user, { role: role(random), until: random.chance(0.4) ? random.below(10) * 1000 : Infinity })
    }
  }
}

const randomModel = (random: Random): SharingModel => {
  const model = new SharingModel()
  for (let owner = 0; owner < PEOPLE; owner++) {
    for (const name of NAMES) {
      if (random.chance(0.4)) continue
      const file = model.addFile(owner, name, 1)
      file.isPublic = random.chance(0.15)
      someGrants(random, file.grants)
      file.grants.delete(owner)
      if (random.chance(0.5)) file.lock = { by: random.below(PEOPLE), until: random.below(10) * 1000 }
    }
    for (const path of FOLDERS) {
      const folder = model.folder(owner, path)
      folder.isPublic = random.chance(0.1)
      someGrants(random, folder.grants)
      folder.grants.delete(owner)
    }
  }
  return model
}

/** The facts as the database would give them: grants that count, whoever asks. */
const factsOf = (model: SharingModel, callerId: number, ownerId: number, path: string, now: number): Facts => ({
  callerId,
  ownerId,
  isPublic: model.isPublic(ownerId, path),
  granted: now < (model.bannedUntil.get(callerId) ?? 0)
    ? []
    : model.covering(ownerId, path, now).filter(({ user }) => user === callerId).map(({ role }) => role)
})

const ACTIONS: Readonly<Record<Exclude<Attempt["_tag"], "Create" | "Grant" | "Unlock">, Action>> = {
  Query: "queryPermissions",
  Publicise: "publish",
  Hide: "publish",
  Revoke: "share",
  Transfer: "transfer",
  Rename: "rename",
  Append: "edit",
  Delete: "delete",
  Lock: "lock"
}

/** The code that the policy refuses an attempt with, if it does. */
const judge = (model: SharingModel, attempt: Attempt, now: number): string | undefined => {
  const { caller, owner, path } = attempt
  const facts = factsOf(model, caller, owner, path, now)
  const file = model.file(owner, path)
  const held = file?.lock
  const lock: Lock | undefined = held !== undefined && now < held.until &&
      holds({ callerId: held.by, ownerId: owner, granted: factsOf(model, held.by, owner, path, now).granted })
    ? { userId: held.by, username: Username.make(`user-${held.by}`), expiresAt: held.until }
    : undefined
  const may = (action: Action): string | undefined =>
    (deny(roleOf(facts), action, path) ?? denyLocked(caller, lock, action, path))?.code
  if (attempt._tag === "Create") return file === undefined ? may("edit") : undefined
  if (file === undefined && !FOLDERS.includes(path)) return "2:nf"
  const grants = FOLDERS.includes(path) ? model.folder(owner, path).grants : file?.grants
  const isManager = (user: number): boolean => {
    const grant = grants?.get(user)
    return grant?.role === "MANAGE" && now < grant.until
  }
  switch (attempt._tag) {
    case "Grant":
      return may(attempt.role === "MANAGE" || isManager(attempt.user) ? "appoint" : "share")
    case "Revoke":
      return may(isManager(attempt.user) ? "appoint" : "share")
    case "Unlock":
      return lock === undefined || lock.userId === caller
        ? may("read")
        : may("read") ?? may(attempt.force ? "breakLock" : "lock")
    default:
      return may(ACTIONS[attempt._tag])
  }
}

const REFUSED_BY_POLICY = new Set(["2:nf", "2:perm", "2:lock"])
/** What is refused for other reasons before the policy is asked about a manager's limits. */
const OTHER_REASONS = new Set(["2:unf", "2:opcf"])

it("the policy refuses what the model refuses, by the same code, and nothing else", () => {
  const random = new Random(SEED)
  const outcomes = new Map<string, number>()
  for (let number = 0; number < HISTORIES; number++) {
    const history = { random: random.split(), model: randomModel(random) }
    let now = 0
    for (let step = 0; step < STEPS; step++) {
      if (history.random.chance(0.5)) now += 1000
      if (history.random.chance(0.1)) history.model.bannedUntil.set(history.random.below(PEOPLE), now + 2000)
      const attempt = nextAttempt(history)
      const judged = judge(history.model, attempt, now)
      const outcome = history.model.attempt(attempt, now)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      if (judged === undefined ? REFUSED_BY_POLICY.has(outcome) : outcome !== judged && !OTHER_REASONS.has(outcome)) {
        // A file that is there and may not be seen is in the way of a new one, without being told of.
        if (attempt._tag === "Create" && judged === undefined && outcome === "2:nf") continue
        assert.fail(
          `history ${number}, at ${now}: ${JSON.stringify(attempt)} is ${outcome}, judged ${judged ?? "done"}`
        )
      }
    }
  }
  for (const code of ["done", "2:nf", "2:perm", "2:lock", "2:opcf", "2:cnf"]) assert.isAbove(outcomes.get(code) ?? 0, 0)
}, HISTORIES * 20 + 30_000)
