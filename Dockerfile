# CPU image. Build:  docker build -t mnbatch .
# Run:    docker run --rm --user "$(id -u):$(id -g)" -v /path/export:/export:ro -v /path/out:/out mnbatch run /export --out /out
# Review: `review serve` listens on 127.0.0.1 only, so add --network host (Linux), or run it outside of the container.
FROM python:3.11-slim AS build

WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE ./
COPY mnbatch ./mnbatch
COPY models ./models
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# torch and torchvision come together from the CPU index: their binaries must match, and the default ones bring 2 GB of CUDA.
# Versions are bounded in pyproject.toml and not pinned here.
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu

COPY --from=build /wheels /tmp/wheels
# OpenSlide's library is in openslide-bin (extra "vendor"); nothing is needed from apt.
# /data may be used by any user, since results should belong to the one who runs the container (--user).
RUN wheel="$(echo /tmp/wheels/mnbatch-*.whl)" \
    && python -m pip install --no-cache-dir "${wheel}[vendor]" \
    && mnbatch --version \
    && useradd --no-create-home --home-dir /tmp --uid 10001 mnbatch \
    && mkdir --mode=1777 /data

ENV HOME=/tmp
USER mnbatch
WORKDIR /data
ENTRYPOINT ["mnbatch"]
CMD ["--help"]
