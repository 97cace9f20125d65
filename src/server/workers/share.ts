/** What one of several workers has of a server's memory: its part, so that all together have what was configured. */
import { type ServerSettings, workersOf } from "../ServerConfig.ts"

/** Below this a worker would do nothing but open and close segments. */
const LEAST_SEGMENTS = 16

export const shareOf = (settings: ServerSettings): ServerSettings => {
  const workers = workersOf(settings)
  const part = (whole: number): number => Math.ceil(whole / workers)
  return {
    ...settings,
    cacheBytes: part(settings.cacheBytes),
    cacheBytesPerUser: Math.min(settings.cacheBytesPerUser, part(settings.cacheBytes)),
    openSegments: Math.max(LEAST_SEGMENTS, part(settings.openSegments)),
    denialsPerMinute: part(settings.denialsPerMinute),
    flushQueue: part(settings.flushQueue)
  }
}
