import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const isLong = ({ moduleId }: TestSpecification): boolean =>
  moduleId.includes("/test/torture/") || moduleId.endsWith("/test/codeBlocks.test.ts")

/** What takes longest by far, in small files: begun last, it would run alone when the others have ended. */
class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Tests start real servers and databases; two cores is the size we plan for.
    maxWorkers: 2,
    // Modules are loaded once for each worker, not for each file: nothing of them is changed by a test.
    isolate: false,
    sequence: { sequencer: LongestFirst }
  }
})
