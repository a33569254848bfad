# The bokbok egg on CHICKEN 5 from Debian's packages, and its puppet. Context: this folder.
#
#   docker build -f debian.Dockerfile -t bokbok/chicken5 .
#   docker run --rm -i bokbok/chicken5            a puppet, steered over standard input and output
#
# The classic builder understands it. Where nothing can be pulled: `make base-image` in the project's root.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
# The versions are those of BASE's Debian.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends chicken-bin gcc libc6-dev libchicken-dev libsodium-dev make \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make EGGS=none BUILD=/build

FROM ${BASE} AS chicken5
LABEL org.bokbok.project="bokbok" \
      org.opencontainers.image.title="bokbok on CHICKEN 5" \
      org.opencontainers.image.licenses="MIT"
# /run/bokbok is where a volume with shared Unix sockets may be mounted: whoever runs here can write there.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libchicken11 libsodium23 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 1000 --user-group --no-create-home --shell /usr/sbin/nologin bokbok \
    && install -d -o bokbok -g bokbok -m 1777 /run/bokbok
COPY --from=build /build/puppet /build/service-server /build/service-client /build/bokbok-server /build/bokbok-client \
     /usr/local/bin/
USER bokbok
WORKDIR /run/bokbok
CMD ["puppet"]
