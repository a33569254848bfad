# The Python library, the `bokbok` command and the conformance runner, `bokbok-interop`.
#
#   docker build -t bokbok/python .
#   docker run --rm -it bokbok/python bokbok --help
#   docker run --rm -i bokbok/python python-sync        a puppet; python-asyncio likewise
#
# The classic builder understands it. Where nothing can be pulled: `make base-image`.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
# The versions are those of BASE's Debian.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# `interop,fleet`: with Dask, for workers of `bokbok-interop run --scheduler`.
ARG EXTRAS=interop
RUN python3 -m venv /opt/bokbok \
    && /opt/bokbok/bin/pip install --no-cache-dir ".[${EXTRAS}]" \
    && printf '#!/bin/sh\nexec /opt/bokbok/bin/python -m bokbok_interop.puppets.sync "$@"\n' > /opt/bokbok/bin/python-sync \
    && printf '#!/bin/sh\nexec /opt/bokbok/bin/python -m bokbok_interop.puppets.asyncio "$@"\n' > /opt/bokbok/bin/python-asyncio \
    && chmod +x /opt/bokbok/bin/python-sync /opt/bokbok/bin/python-asyncio

FROM ${BASE} AS python
LABEL org.bokbok.project="bokbok" \
      org.opencontainers.image.title="bokbok for Python" \
      org.opencontainers.image.licenses="MIT"
# /run/bokbok is where a volume with shared Unix sockets may be mounted: whoever runs here can write there.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 1000 --user-group --no-create-home --shell /usr/sbin/nologin bokbok \
    && install -d -o bokbok -g bokbok -m 1777 /run/bokbok
COPY --from=build /opt/bokbok /opt/bokbok
ENV PATH=/opt/bokbok/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER bokbok
WORKDIR /run/bokbok
CMD ["bokbok", "--help"]
