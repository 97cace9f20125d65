/**
 * Every migration, under the name of its file. Ids only grow, and a migration that has landed is never edited: the
 * migrator runs those above the highest id a database has seen, all in one transaction.
 *
 * Imports are static, so that the record is the same from sources, from a build, and inside a bundle. One statement per
 * query: PostgreSQL's extended protocol takes no more.
 */
import type { Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import users from "./0001_users.ts"
import files from "./0002_files.ts"
import grants from "./0003_grants.ts"
import guard from "./0004_guard.ts"
import retention from "./0005_retention.ts"
import reclaim from "./0006_reclaim.ts"
import sharing from "./0007_sharing.ts"
import cluster from "./0008_cluster.ts"
import activity from "./0009_activity.ts"
import changes from "./0010_changes.ts"
import storage from "./0011_storage.ts"
import commits from "./0013_commits.ts"
import compaction from "./0014_compaction.ts"
import feeds from "./0015_feeds.ts"
import attributes from "./0016_attributes.ts"
import content from "./0019_content.ts"
import owners from "./0020_owners.ts"
import changesAtOnce from "./0021_changes_at_once.ts"

export const migrations: Readonly<Record<string, Effect.Effect<void, SqlError, SqlClient>>> = {
  "0001_users": users,
  "0002_files": files,
  "0003_grants": grants,
  "0004_guard": guard,
  "0005_retention": retention,
  "0006_reclaim": reclaim,
  "0007_sharing": sharing,
  "0008_cluster": cluster,
  "0009_activity": activity,
  "0010_changes": changes,
  "0011_storage": storage,
  "0013_commits": commits,
  "0014_compaction": compaction,
  "0015_feeds": feeds,
  "0016_attributes": attributes,
  "0019_content": content,
  "0020_owners": owners,
  "0021_changes_at_once": changesAtOnce
}
