# One image for all that is ours. The args say what a container is: ["-m", "services.payment"], ["-m", "orchestrator"].

# Both have the same Python, since bytecode and compiled wheels are made for one version.
ARG BUILD_IMAGE=python:3.13-slim-trixie
ARG BASE_IMAGE=gcr.io/distroless/python3-debian13:nonroot

FROM ${BUILD_IMAGE} AS dependencies
WORKDIR /app
COPY requirements/image.txt ./
RUN pip install --require-hashes --no-deps --only-binary=:all: --no-compile --target=dependencies --requirement=image.txt
# Where it runs, no bytecode can be written. It is not checked against times of files, which differ from build to build.
RUN python -m compileall -q --invalidation-mode=unchecked-hash dependencies

# What .dockerignore lets through.
FROM ${BUILD_IMAGE} AS code
WORKDIR /app/code
COPY . .
RUN python -m compileall -q --invalidation-mode=unchecked-hash . && chmod -R a+rX .

FROM ${BASE_IMAGE}
COPY --from=dependencies /app/dependencies /app/dependencies
COPY --from=code /app/code /app/code
WORKDIR /app
ENV PYTHONPATH=/app/code:/app/code/gen:/app/dependencies PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 50051
# In numbers, for runAsNonRoot is decided without /etc/passwd.
USER 65532:65532
ENTRYPOINT ["/usr/bin/python3"]
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Ensemble" \
      org.opencontainers.image.description="Six services, orchestrated and choreographed, on gRPC and NATS" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
