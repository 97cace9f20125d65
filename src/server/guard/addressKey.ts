/**
 * What an address counts as: an IPv4 address is one peer, and so is an IPv6 network of 64 bits, because whoever has one
 * address of it has all of them.
 */
import { isIPv4, isIPv6 } from "node:net"

/** The eight groups of an IPv6 address in any spelling. */
const groupsOf = (address: string): ReadonlyArray<string> => {
  const [head = "", tail] = address.split("::")
  const front = head === "" ? [] : head.split(":")
  if (tail === undefined) return front
  const back = tail === "" ? [] : tail.split(":")
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => "0"), ...back]
}

/** `192.0.2.7`, or `2001:db8:0:1::/64`. Anything else is taken as it is. */
export const addressKey = (address: string): string => {
  const [plain = ""] = address.toLowerCase().split("%")
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain)?.[1] ?? plain
  if (isIPv4(mapped) || !isIPv6(mapped)) return mapped
  return `${groupsOf(mapped).slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/64`
}
