"""The collector: keeps the last traces in memory, and answers who asks for one. For those who run no Jaeger.

One process, `python -m collector`. It is told by OTLP over gRPC, as any OpenTelemetry collector is, and asked by
Jaeger's own query API, so that whoever reads traces reads them from it and from Jaeger by the same requests.

| request                                           | answer                                                         |
| ------------------------------------------------- | -------------------------------------------------------------- |
| `opentelemetry...TraceService/Export` (gRPC)      | takes the spans; says how many of them it could not            |
| `GET /api/v3/traces/{trace_id}`                   | the trace as OTLP/JSON below `result`; 404 if it is not kept   |
| `GET /api/v3/traces?query...`                     | those that the query finds, the newest first; 404 if none      |
| `GET /api/v3/services`                            | who has a span in a trace that is kept                         |
| `GET /health`                                     | 200                                                            |

It takes traces only: metrics and logs are UNIMPLEMENTED. When it ends, everything is forgotten.
"""
