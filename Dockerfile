# logweir in a container, built from a clone:
#
#   docker build -t logweir .
#   docker run -d --name logweir --stop-timeout 45 -v logweir:/var/lib/logweir \
#     -v ./logweir.toml:/etc/logweir/logweir.toml:ro -v ./search-password:/run/secrets/search-password:ro logweir
#
# The user is 10001, who must be able to read what is mounted. No volume is declared here: without one at
# /var/lib/logweir the daemon refuses to start, because its checkpoints would go with the container.

FROM rust:1.95-slim-trixie AS build
WORKDIR /build
COPY . .
# The caches stay with the builder; the program is taken out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --locked --release && install -D -s target/release/logweir /out/usr/bin/logweir
RUN install -d -m 0700 -o 10001 -g 10001 /out/var/lib/logweir

FROM debian:trixie-slim
# Whom destinations' certificates are checked against. No package is installed here.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ /
USER 10001:10001
# As in systemd/logweir.service, which says why.
ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=1048576
# The program runs in this image, and takes the example that names no file of yours.
RUN --mount=type=bind,source=config,target=/mnt ["logweir", "validate", "--config", "/mnt/sqlite.toml"]
# The page for metrics listens on the container's loopback. For Prometheus outside of it:
# LOGWEIR_HTTP_LISTEN=0.0.0.0:9598, and keep the port from everybody else.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["logweir", "health"]
# Drains; whoever stops it must wait longer than shutdown.deadline, which is 25 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["logweir"]
CMD ["run"]
