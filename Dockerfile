# One image for every part: `aristobot ingress`, `aristobot gateway --broker ...`, `aristobot up`.
# It runs as an ordinary user on a read-only root; only /data (for `up`) and /tmp are written to.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG UV_VERSION=0.13.8
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/aristobot
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION}
WORKDIR /src
# The dependencies first: they change less often than the code, so their layer is kept.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-install-project --compile-bytecode --no-cache
COPY services ./services
RUN /opt/uv/bin/uv sync --frozen --no-dev --no-editable --compile-bytecode --no-cache

FROM ${BASE}
RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin aristobot \
    && mkdir /data && chown aristobot:aristobot /data && chmod 0700 /data
COPY --from=build /opt/aristobot /opt/aristobot
# Byte code is in the image already, and could not be written anyway.
ENV PATH=/opt/aristobot/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ARISTOBOT_DATA=/data
WORKDIR /data
VOLUME /data
# The number and not the name, so that Kubernetes can check runAsNonRoot.
USER 10001:10001
EXPOSE 8888
ENTRYPOINT ["aristobot"]
CMD ["--help"]
