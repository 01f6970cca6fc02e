# syntax=docker/dockerfile:1
# One image for every role: the command says which (docker-compose.yml, docs/operations.md).
# The base is given by its full version. Give it by digest too where images must repeat bit for bit:
#   docker build --build-arg PYTHON_IMAGE=python:3.13.7-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.13.7-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/appsentry
WORKDIR /src
# The libraries first: this layer is built anew only when the lock changes. No wheel, no compiler, no surprise.
COPY requirements-flower.lock ./
RUN /opt/appsentry/bin/pip install --only-binary :all: --require-hashes -r requirements-flower.lock
COPY . .
RUN /opt/appsentry/bin/pip install --no-deps --no-build-isolation .

FROM ${PYTHON_IMAGE}
# The number is fixed so that the owner of a volume's files is known outside too.
RUN groupadd --gid 10001 appsentry \
    && useradd --uid 10001 --gid 10001 --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin appsentry \
    && install -d -o appsentry -g appsentry /demo
COPY --from=build /opt/appsentry /opt/appsentry
ENV PATH=/opt/appsentry/bin:$PATH PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["appsentry", "health"]
CMD ["appsentry", "web", "--host", "0.0.0.0"]
