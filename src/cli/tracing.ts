/**
 * Traces over OTLP, as the standard environment variables have it (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin); without
 * an endpoint nothing of it is loaded.
 */
import { ConfigProvider, Effect, Layer } from "effect"
import { VERSION } from "../protocol/Limits.ts"
import { traced, TraceRequests } from "../server/metrics/tracing.ts"

const { env } = process

/** `otlp` unless it says otherwise: so the standard has it. */
const exporters = env["OTEL_TRACES_EXPORTER"] ?? "otlp"

const isWanted = (env["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] ?? "") !== "" &&
  env["OTEL_SDK_DISABLED"]?.toLowerCase() !== "true" && exporters.includes("otlp")

export const tracingLayer: Layer.Layer<never> = !isWanted ? Layer.empty : Layer.unwrap(Effect.promise(async () => {
  const [OtlpTracer, OtlpSerialization, FetchHttpClient] = await Promise.all([
    import("effect/observability/OtlpTracer"),
    import("effect/observability/OtlpSerialization"),
    import("effect/http/FetchHttpClient")
  ])
  const exporter = OtlpTracer.layerFromConfig({
    resource: { serviceName: env["OTEL_SERVICE_NAME"] ?? "fip", serviceVersion: VERSION }
  }).pipe(
    Layer.provide(OtlpSerialization.layerJson),
    Layer.provide(FetchHttpClient.layer),
    Layer.provide(
      ConfigProvider.layer(ConfigProvider.fromEnv({ env: { ...env, OTEL_TRACES_EXPORTER: exporters } }))
    )
  )
  return Layer.merge(exporter, Layer.succeed(TraceRequests, traced))
}))
