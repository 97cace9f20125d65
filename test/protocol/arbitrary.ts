/** What property tests of several modules draw from. */
import * as fc from "fast-check"

/** Text of any UTF-16 code units: any script, controls, halves of surrogate pairs. */
export const anyText = (maxLength: number): fc.Arbitrary<string> =>
  fc.array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff), fc.constantFrom(0xd83d, 0xdc00)), { maxLength }).map((units) =>
    String.fromCharCode(...units)
  )
