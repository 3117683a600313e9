# The image of Chancery: `docker build --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) -t chancery .`
# What goes in is pinned by hash (requirements/run.txt); docs/engines.md says how two builds give the same image.
# The base is pinned by tag. Put its digest there once you have looked it up: python:3.11.14-slim-bookworm@sha256:…
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS build
ARG SOURCE_DATE_EPOCH=0
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONHASHSEED=0
COPY requirements/run.txt /build/requirements/run.txt
# wheels only: nothing is compiled here, and no package's own code runs
RUN python -m venv --without-pip /opt/chancery \
    && python -m pip --python /opt/chancery/bin/python install --require-hashes --no-deps --only-binary :all: --no-compile \
        -r /build/requirements/run.txt
COPY domain /opt/chancery/src/domain
COPY commands /opt/chancery/src/commands
COPY projections /opt/chancery/src/projections
COPY queries /opt/chancery/src/queries
COPY infra /opt/chancery/src/infra
COPY migrations /opt/chancery/src/migrations
COPY spec /opt/chancery/src/spec
COPY verifier /opt/chancery/src/verifier
# the program asks for its own version as an installed one does
COPY pyproject.toml /build/pyproject.toml
RUN python -c "import pathlib, tomllib; \
    project = tomllib.loads(pathlib.Path('/build/pyproject.toml').read_text())['project']; \
    folder = pathlib.Path('/opt/chancery/src') / f'chancery-{project[\"version\"]}.dist-info'; \
    folder.mkdir(); \
    (folder / 'METADATA').write_text(f'Metadata-Version: 2.4\nName: chancery\nVersion: {project[\"version\"]}\n')"
RUN printf '#!/opt/chancery/bin/python\nfrom infra.cli import main\n\nmain()\n' > /opt/chancery/bin/chancery && chmod 755 /opt/chancery/bin/chancery
# compiled once, by content and not by time: the image's file system is read-only; the checkout's permissions and times are not the image's
# (the builder takes back only times after the commit's: a file that lay there before would keep its own)
RUN /opt/chancery/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/chancery/lib /opt/chancery/src \
    && chmod -R u=rwX,go=rX /opt/chancery \
    && find /opt/chancery -exec touch --no-dereference --date=@${SOURCE_DATE_EPOCH} {} +

FROM ${PYTHON}
ARG SOURCE_DATE_EPOCH=0
LABEL org.opencontainers.image.title="Chancery" \
      org.opencontainers.image.licenses="Apache-2.0"
# User 1000 is also Elasticsearch's in its image: both read a password that nobody else may read.
# The folders stand here so that volumes mounted over them belong to this user from the start.
RUN groupadd --gid 1000 chancery \
    && useradd --uid 1000 --gid 1000 --no-log-init --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin chancery \
    && install -d -o 1000 -g 1000 -m 0700 /data /keys /documents /secrets/chancery \
    && install -d -o 1000 -g 1000 -m 0755 /secrets/postgres /secrets/elasticsearch /secrets/neo4j /secrets/kafka
COPY --from=build /opt/chancery /opt/chancery
ENV PATH=/opt/chancery/bin:${PATH} \
    PYTHONPATH=/opt/chancery/src \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CHANCERY_DATA=/data \
    CHANCERY_LOG_FORMAT=json
USER 1000:1000
WORKDIR /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["chancery"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
