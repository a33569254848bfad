# The bokbok egg on CHICKEN 5 from Debian's packages, and its puppet. Context: this folder.
#
#   docker build -f debian.Dockerfile -t bokbok/chicken5 .
#   docker run --rm -i bokbok/chicken5            a puppet, steered over standard input and output
#
# Another bokbok egg, with the same puppet, as `Dockerfile` does it for CHICKEN 4: its source is egg/bokbok.scm in the
# context, with what that includes, and egg/version is what the puppet says of it. It may use the stand-ins.
#
#   docker build -f debian.Dockerfile --target chicken5-egg -t some/egg .
#
# The classic builder understands it. It also builds stages that a target does not need, if they stand before it: so
# the other egg's, which do nothing where there is none, come first. Where nothing can be pulled: `make base-image` in
# the project's root.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS chicken
# The versions are those of BASE's Debian.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends chicken-bin gcc libc6-dev libchicken-dev libsodium-dev make \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .

FROM chicken AS build-egg
RUN mkdir -p /installed \
    && if [ -d egg ]; then \
        own="$(chicken-install -repository)" \
        && make install EGGS=none BUILD=/build EGG=egg/bokbok.scm DESTDIR=/installed \
        && CHICKEN_REPOSITORY_PATH="/installed${own}:${own}" \
           make real-egg BUILD=/build EGG_VERSION="$(cat egg/version)" \
        && for program in puppet service-server service-client; do \
            install -D "/build-real-egg/real-${program}" "/installed/usr/local/bin/${program}"; \
        done; \
    fi

FROM ${BASE} AS run
LABEL org.bokbok.project="bokbok" \
      org.opencontainers.image.licenses="MIT"
# /run/bokbok is where a volume with shared Unix sockets may be mounted: whoever runs here can write there.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libchicken11 libsodium23 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 1000 --user-group --no-create-home --shell /usr/sbin/nologin bokbok \
    && install -d -o bokbok -g bokbok -m 1777 /run/bokbok
USER bokbok
WORKDIR /run/bokbok
CMD ["puppet"]

FROM run AS chicken5-egg
LABEL org.opencontainers.image.title="another bokbok egg on CHICKEN 5"
COPY --from=build-egg /installed /

FROM chicken AS build
RUN make EGGS=none BUILD=/build

FROM run AS chicken5
LABEL org.opencontainers.image.title="bokbok on CHICKEN 5"
COPY --from=build /build/puppet /build/service-server /build/service-client /build/bokbok-server /build/bokbok-client \
     /usr/local/bin/
