/** Bytes in order, as views: what arrives is handed on without being copied into one piece. */
export type Chunks = ReadonlyArray<Uint8Array>

export const bytesOf = (chunks: Chunks): number => {
  let bytes = 0
  for (const chunk of chunks) bytes += chunk.length
  return bytes
}

/** What follows the first `count` bytes. */
export const drop = (chunks: Chunks, count: number): Chunks => {
  if (count === 0) return chunks
  let left = count
  const rest: Array<Uint8Array> = []
  for (const chunk of chunks) {
    if (left < chunk.length) rest.push(chunk.subarray(left))
    left = Math.max(0, left - chunk.length)
  }
  return rest
}
