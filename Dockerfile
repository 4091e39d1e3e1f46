# syntax=docker/dockerfile:1

# The embedded ClickHouse engine. Without it (--build-arg WITH_ENGINE=no) the image is 560 MB smaller and
# needs TILLWATCH_CLICKHOUSE_URL.
FROM node:22.20.0-bookworm-slim AS engine
ARG WITH_ENGINE=yes
WORKDIR /engine
COPY package.json package-lock.json ./
RUN mkdir /lib-out \
 && if [ "$WITH_ENGINE" = yes ]; then npm ci --no-audit --no-fund && cp node_modules/@chdb/*/libchdb.so /lib-out/; fi

FROM rust:1.95.0-bookworm AS build
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --release --bin tillwatch && cp target/release/tillwatch /tillwatch

FROM debian:12.12-slim
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/tillwatch --no-create-home tillwatch \
 && install -d -o tillwatch -g tillwatch -m 0700 /var/lib/tillwatch \
 && install -d -o tillwatch -g tillwatch -m 0750 /var/lib/tillwatch-keys
COPY --from=engine /lib-out/ /usr/local/lib/
COPY --from=build /tillwatch /usr/local/bin/tillwatch
USER 10001:10001
WORKDIR /var/lib/tillwatch
ENV TILLWATCH_DATA_DIR=/var/lib/tillwatch
VOLUME /var/lib/tillwatch
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# There is no HTTP client in the image; bash can do it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && grep -q '^HTTP/1.1 200' <&3"]
ENTRYPOINT ["tillwatch"]
CMD ["serve"]
